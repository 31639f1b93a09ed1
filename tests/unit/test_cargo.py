"""What travels with a job: a folder's files, a settings file, variables; and what may not."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer

from shardrank.core.errors import InputError, SettingsError
from shardrank.jobs import arguments
from shardrank.jobs.cli import app
from shardrank.jobs.luggage import pack
from shardrank.jobs.submit import SubmitJob, cargo_of

WORDS = ("index", "s3://b/corpus", "s3://b/index")
RANK = ("rank", "s3://b/index", "s3://b/queries", "s3://b/out")


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x = 1" if name.startswith("x") else "")
    return folder


def checkout(folder: Path, *names: str, ignored: str) -> Path:
    files(folder, *names)
    (folder / ".gitignore").write_text(ignored)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.mark.parametrize(
    "given",
    [
        ["--config", "{}"],
        ["--config={}"],
        ["-c", "{}"],
        ["-c{}"],
        ["-vc{}"],
        ["-vc", "{}"],
        ["-c", "none.toml", "-c", "{}"],
        ["--set", "search.k=3", "-c{}", "--wait"],
    ],
)
def test_a_settings_file_travels_however_it_is_named(given: list[str], tmp_path: Path) -> None:
    file = str(files(tmp_path, "night.toml") / "night.toml")
    cargo = cargo_of(SubmitJob((*WORDS, *(word.format(file) for word in given))))
    there = " ".join(word.format("_config/night.toml") for word in given)
    assert cargo.entrypoint == f"shardrank {' '.join(WORDS)} {there}"
    assert cargo.luggage.files == {"_config/night.toml": Path(file)}


def test_a_settings_file_keeps_its_place_in_the_folder(tmp_path: Path) -> None:
    files(tmp_path, "in/night.toml", "b.txt")
    words = ("index", "b.txt", "s3://b/index", "-c", f"{tmp_path}/in/../in/night.toml")
    cargo = cargo_of(SubmitJob(words, working_dir=tmp_path))
    assert cargo.entrypoint == "shardrank index b.txt s3://b/index -c in/night.toml"
    assert sorted(cargo.luggage.files) == ["b.txt", "in/night.toml"]


def test_the_word_that_names_the_settings_is_the_only_one_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files(tmp_path, "upsert"))
    words = ("-cupsert", "--mode", "upsert", "s3://b/upsert", "s3://b/index")
    cargo = cargo_of(SubmitJob(("index", *words)))
    assert cargo.entrypoint.split()[2:] == ["-c_config/upsert", *words[1:]]


def test_a_folder_travels_without_what_is_hidden(tmp_path: Path) -> None:
    files(tmp_path, "a.toml", "in/b.txt", ".env", ".cache/c", "in/.d", "__pycache__/a.pyc")
    found = pack(tmp_path, tmp_path / "a.toml")
    assert sorted(found.files) == ["a.toml", "in/b.txt"]
    assert found.config == "a.toml"
    one, two = tmp_path / "1.zip", tmp_path / "2.zip"
    found.zip(one)
    found.zip(two)
    assert one.read_bytes() == two.read_bytes()


def test_a_checkout_travels_without_what_git_ignores_or_what_is_hidden(tmp_path: Path) -> None:
    names = ("a.txt", ".env", "in/.netrc", "data/big", "__pycache__/a.pyc")
    folder = checkout(tmp_path, *names, ignored="data\n")
    subprocess.run(["git", "-C", str(folder), "add", "-f", ".env", "in/.netrc"], check=True)
    assert sorted(pack(folder, None).files) == ["a.txt"]


def test_a_folder_that_git_ignores_is_refused(tmp_path: Path) -> None:
    folder = checkout(tmp_path, "data/a.txt", "b.txt", ignored="data\n") / "data"
    with pytest.raises(InputError, match=r"Nothing in --working-dir .*/data travels"):
        pack(folder, None)


def test_a_checkout_that_git_cannot_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path, ".git/config", "a.txt")
    with pytest.raises(InputError, match=r"git does not say what it ignores there: fatal: .*"):
        pack(tmp_path, None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="No such file or directory: 'git'"):
        pack(tmp_path, None)


def test_too_much_is_named(tmp_path: Path) -> None:
    with (tmp_path / "corpus.jsonl").open("wb") as file:
        file.truncate(101 << 20)
    with pytest.raises(InputError, match=r"corpus\.jsonl \(106 MB\)"):
        pack(tmp_path, None)


def test_what_cannot_travel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        pack(tmp_path / "none", None)
    with pytest.raises(SettingsError, match="settings file gone cannot be read"):
        cargo_of(SubmitJob((*WORDS, "-c", "gone")))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("index", "s3://b/corpus", "index"), "INDEX is index"),
        (("index", "s3://b/corpus", "./index"), "INDEX is ./index"),
        (("index", "~/corpus", "s3://b/index"), "CORPUS is ~/corpus"),
        (("index", "../corpus.jsonl", "s3://b/index"), r"CORPUS is \.\./corpus"),
        (("rank", "/mnt/index", "more.jsonl", "/mnt/out"), "QUERIES is more"),
        (("rank", "/mnt/index", "queries.jsonl", "in/out"), "OUT is in/out"),
        ((*RANK, "--qrels", "no.tsv"), "QRELS is no"),
        (("label", "/mnt/out", "labels", "-f", "pairs"), "LABELS is labels"),
        (("label", "/mnt/out", "/mnt/labels", "-f", "pairs", "--index", "i"), "INDEX is i"),
        (("compare", "/mnt/out", "out2"), "SECOND is out2"),
        (("tune", "/mnt/out", "--qrels", "/mnt/q", "--to", "a.toml"), r"TO is a\.toml"),
        (("demo",), "OUT is demo"),
        (("plan", "index", "s3://b/corpus", "index"), "INDEX is index"),
    ],
)
def test_a_path_that_no_node_sees_is_refused(
    words: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    folder = files(tmp_path, "queries.jsonl", "in/corpus.jsonl")
    with pytest.raises(InputError, match=f"{named}.*which no node sees"):
        cargo_of(SubmitJob(words, working_dir=folder))


@pytest.mark.parametrize("corpus", ["in", "in/", "./in/corpus.jsonl", "in/*.jsonl", "i*/c*"])
def test_what_is_read_may_travel(corpus: str, tmp_path: Path) -> None:
    folder = files(tmp_path, "in/corpus.jsonl")
    cargo_of(SubmitJob(("index", corpus, "/mnt/index"), working_dir=folder))
    with pytest.raises(InputError, match="which no node sees"):
        cargo_of(SubmitJob(("index", corpus, "/mnt/index")))


def test_every_argument_that_may_be_a_path_is_known() -> None:
    """A new one is sorted here: into those that are looked at, or those that are none."""
    no_paths = {"config", "format_", "metric", "image", "name", "part", "split"}
    kinds = (str, Path, str | None, Path | None)
    taken = [get_type_hints(each) for each in functions(app) if each.__name__ != "submit"]
    found = {name for hints in taken for name, kind in hints.items() if kind in kinds}
    assert found - no_paths == {*arguments.READ, *arguments.KEPT}


def functions(commands: typer.Typer) -> Iterator[Any]:
    yield from (each.callback for each in commands.registered_commands)
    for group in commands.registered_groups:
        if group.typer_instance:
            yield from functions(group.typer_instance)


def test_a_command_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="cannot submit itself"):
        cargo_of(SubmitJob(("submit", *WORDS)))
    for words in (("index", "s3://b/corpus"), ("indx",), ("plan",), ("index", *WORDS, "-x")):
        with pytest.raises(Exception, match=r"Missing|No such") as refused:
            cargo_of(SubmitJob(words))
        assert getattr(refused.value, "exit_code", None) == 2


@pytest.mark.parametrize(
    "name",
    [
        *("AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "DB_PASS", "PGPASSWORD", "MYSQL_PWD"),
        *("HF_TOKEN", "hf_tokens", "NIGHT_HOOK", "SLACK_WEBHOOK_URL", "BASIC_AUTH", "KEY_2"),
    ],
)
def test_secrets_are_not_variables_of_a_job(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} looks like a secret"):
        cargo_of(SubmitJob(WORDS, env=[f"{name}=x"]))


def test_a_url_with_a_secret_is_no_variable_of_a_job(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[events]\nwebhook = "WHERE_TO"\n')
    words = (*WORDS, "--config", f"{tmp_path}/a.toml")
    with pytest.raises(SettingsError, match=r"WHERE_TO holds the URL of events\.webhook"):
        cargo_of(SubmitJob(words, env=["WHERE_TO=http://h/x"]))
    with pytest.raises(SettingsError, match="HTTPS_PROXY holds a URL with a password"):
        cargo_of(SubmitJob(WORDS, env=["HTTPS_PROXY=http://me:pw@proxy:3128"]))


def test_other_variables_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    given = ["AWS_REGION=eu-west-1", "TOKENIZERS_PARALLELISM=false", "AUTHOR=a=b", "HTTPS_PROXY"]
    assert cargo_of(SubmitJob(WORDS, env=given)).variables == {
        "AWS_REGION": "eu-west-1",
        "TOKENIZERS_PARALLELISM": "false",
        "AUTHOR": "a=b",
        "HTTPS_PROXY": "http://proxy:3128",
    }
    with pytest.raises(SettingsError, match="no such variable here"):
        cargo_of(SubmitJob(WORDS, env=["NOT_THERE_AT_ALL"]))
