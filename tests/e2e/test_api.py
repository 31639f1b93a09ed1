"""The functions do what the commands do, say nothing, and leave the process as it was."""

import json
import logging
import re
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers.utils import logging as transformers_logging

import shardrank
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.overrides import parse_settings
from shardrank.core.schemas import RANKINGS
from shardrank.core.settings import Settings
from shardrank.storage.local import LocalStorage
from tests.world import World, latest, make_world, snapshot, write_lines
from tests.world import shardrank as run_command

ROOT = Path(__file__).parents[2]
SETS = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=64",
    "search.k=20",
    "search.block_queries=4",
    "reranker.depth=8",
    "label.depth=8",
    "label.negatives=3",
)
FORMAT = "triplets"

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=80, queries=12)


@pytest.fixture(scope="module")
def wanted(world: World) -> list[str]:
    """All settings as overrides."""
    return [f"encoder.model={world.encoder}", f"reranker.model={world.reranker}", *SETS]


@pytest.fixture(scope="module")
def commanded(
    tmp_path_factory: pytest.TempPathFactory, world: World, wanted: list[str], inline: object
) -> Path:
    """What the commands make: index, out and labels."""
    root = tmp_path_factory.mktemp("commanded")
    out, labels = str(root / "out"), str(root / "labels")
    assert run_command(*world.index(root / "index", *SETS)) == 0
    assert run_command(*world.rank(root / "index", out, *SETS)) == 0
    sets = [word for value in wanted for word in ("--set", value)]
    assert run_command("label", out, labels, "-f", FORMAT, "--qrels", world.qrels, *sets) == 0
    return root


def labelled(labels: Path) -> dict[str, bytes]:
    storage = LocalStorage(str(labels))
    keys = [entry.key for entry in storage.list("")]
    kept = [k for k in keys if not k.startswith(("units/", "runs/")) and not k.endswith(".html")]
    return {key: storage.read(key) for key in kept}


def toml_of(settings: Settings) -> str:
    """What was set, as a file."""
    tables = settings.model_dump(mode="json", exclude_unset=True)
    lines = []
    for table, held in tables.items():
        head, several = (f"[[{table}]]", held) if isinstance(held, list) else (f"[{table}]", [held])
        for values in several:
            lines += [head, *(f"{name} = {json.dumps(v)}" for name, v in values.items())]
    return "\n".join(lines)


def test_the_bytes_of_the_commands(
    world: World,
    wanted: list[str],
    commanded: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """From a Settings, from a TOML file and from overrides alike; and nothing is printed."""
    capfd.readouterr()
    settings = parse_settings({}, wanted)
    (tmp_path / "wanted.toml").write_text(toml_of(settings))
    index, out, labels = tmp_path / "index", tmp_path / "out", tmp_path / "labels"
    made = shardrank.index(world.corpus, index, settings=settings)
    ranked = shardrank.rank(index, world.queries, out, qrels=world.qrels, overrides=wanted)
    taught = shardrank.label(
        out, labels, format=FORMAT, qrels=world.qrels, settings=tmp_path / "wanted.toml"
    )
    assert capfd.readouterr() == ("", "")
    assert snapshot(index, out) == snapshot(commanded / "index", commanded / "out")
    assert labelled(labels) == labelled(commanded / "labels")

    assert (made.number, made.new, made.changes.added) == (1, True, 80)
    assert made.version.live.documents == 80
    assert ranked.counts.ranked == 12 == ranked.manifest.queries
    assert ranked.metrics == json.loads((out / "metrics.json").read_text())
    assert (ranked.absent, ranked.rejected.num_rows, ranked.same_ids.queries) == (0, 0, 0)
    assert taught.counts.rows == sum(ref.rows for ref in taught.manifest.files) > 0
    found = shardrank.evaluate(out, world.qrels)
    assert found.metrics == ranked.metrics
    assert found.evaluation == ranked.evaluation
    for page in (out / "report.html", labels / "about" / FORMAT / "report.html"):
        assert "shardrank.rank(" in page.read_text() or "shardrank.label(" in page.read_text()


def test_a_file_and_an_object_name_the_same_run(
    world: World, wanted: list[str], commanded: Path, tmp_path: Path
) -> None:
    settings = parse_settings({}, wanted)
    (tmp_path / "wanted.toml").write_text(toml_of(settings))
    index, out = commanded / "index", tmp_path / "out"
    ways: list[dict[str, Any]] = [
        {"settings": settings},
        {"settings": str(tmp_path / "wanted.toml")},
        {"settings": parse_settings({}, wanted[:5]), "overrides": wanted[5:]},
    ]
    runs = {shardrank.rank(index, world.queries, out, **way).run for way in ways}
    assert runs == {json.loads((commanded / "out/manifest.json").read_text())["run"]}


def test_the_manifest_says_what_made_it(world: World, commanded: Path) -> None:
    told = json.loads((commanded / "out/manifest.json").read_text())
    [retriever], [reranker] = told["retrievers"], told["rerankers"]
    encoder = retriever["encoder"]
    assert (encoder["name"], reranker["name"]) == (str(world.encoder), str(world.reranker))
    assert [len(model["weights_sha256"]) for model in (encoder, reranker)] == [64, 64]
    assert (retriever["name"], retriever["column"], retriever["bm25"]) == ("dense", "dense", None)
    assert (retriever["k"], retriever["nprobe"], retriever["depth"]) == (20, 0, 0)
    assert told["settings"]["search"]["k"] == 20
    assert [each["depth"] for each in told["settings"]["reranker"]] == [8]
    assert told["settings"]["encoder"]["model"] == str(world.encoder)
    made = told["made"]
    assert (made["queries"], made["qrels"]) == (world.queries, world.qrels)
    assert made["shardrank"] == shardrank.__version__
    assert made["command"].startswith("shardrank rank ")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["time"])
    assert made["index"] == str(commanded / "index")
    assert made["set"]["search"] == {"k": 20, "block_queries": 4}
    assert made["set"]["encoder"][0]["model"] == str(world.encoder)
    assert "gate" not in made["set"]
    version = latest(commanded / "index").made
    assert version.command.startswith("shardrank index ")
    assert version.set["encoder"] == made["set"]["encoder"]


def test_rankings_are_read_as_they_lie(commanded: Path) -> None:
    files = sorted((commanded / "out/rankings").glob("*.parquet"))
    tables = list(shardrank.read_rankings(commanded / "out"))
    assert [table.schema for table in tables] == [RANKINGS] * len(files) == [RANKINGS] * 3
    assert pa.concat_tables(tables).equals(pa.concat_tables(map(pq.read_table, files)))


def test_versions_are_opened(
    world: World, wanted: list[str], commanded: Path, tmp_path: Path
) -> None:
    latest = shardrank.open_index(commanded / "index")
    assert (latest.number, latest.version.live.documents) == (1, 80)
    assert shardrank.open_index(commanded / "index", 1) == latest
    assert [past.number for past in latest.history()] == [1]
    with pytest.raises(InputError, match="has no version 2; it has 1"):
        shardrank.open_index(commanded / "index", 2)
    with pytest.raises(InputError, match="holds no published version"):
        shardrank.open_index(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_an_upsert_after_a_snapshot(world: World, wanted: list[str], tmp_path: Path) -> None:
    """Twice in one process, with other settings."""
    shardrank.index(world.corpus, tmp_path / "index", overrides=wanted)
    more = write_lines(tmp_path / "more.jsonl", [{"_id": "new", "text": "wing flow"}])
    found = shardrank.index(
        more, tmp_path / "index", mode="upsert", overrides=[*wanted, "compact.max_drift=0.5"]
    )
    assert (found.number, found.changes.added, found.version.live.documents) == (2, 1, 81)
    same = shardrank.index(more, tmp_path / "index", mode="upsert", overrides=wanted)
    assert (same.number, same.new, same.changes.unchanged) == (2, False, 1)


def test_what_is_refused_leaves_nothing(
    world: World, wanted: list[str], commanded: Path, tmp_path: Path
) -> None:
    index, out = tmp_path / "index", tmp_path / "out"
    with pytest.raises(InputError, match="There is no file, folder or match"):
        shardrank.index(tmp_path / "nothing.jsonl", index, overrides=wanted)
    with pytest.raises(SettingsError, match=r"There is no setting search\.no"):
        shardrank.index(world.corpus, index, overrides=["search.no=1"])
    with pytest.raises(SettingsError, match="There is no mode 'update'"):
        shardrank.index(world.corpus, index, mode="update", overrides=wanted)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="cannot be read"):
        shardrank.rank(commanded / "index", world.queries, out, settings="nothing.toml")
    with pytest.raises(InputError, match="holds no published version"):
        shardrank.rank(index, world.queries, out, overrides=wanted)
    with pytest.raises(SettingsError, match="no label format"):
        shardrank.label(commanded / "out", out, format="margins", overrides=wanted)
    for ask in (shardrank.read_rankings, lambda path: shardrank.evaluate(path, world.qrels)):
        with pytest.raises(InputError, match="holds no finished ranking"):
            ask(out)
    assert not list(tmp_path.iterdir())


def test_another_runs_output_is_kept(
    world: World, wanted: list[str], commanded: Path, tmp_path: Path
) -> None:
    index, out = commanded / "index", tmp_path / "out"
    first = shardrank.rank(index, world.queries, out, overrides=wanted)
    other = [*wanted, "search.k=5"]
    with pytest.raises(InputError, match="holds the output of another run"):
        shardrank.rank(index, world.queries, out, overrides=other)
    assert shardrank.rank(index, world.queries, out, overrides=wanted).run == first.run
    again = shardrank.rank(index, world.queries, out, overrides=other, overwrite=True)
    assert again.run != first.run


def test_a_reporter_is_told_of_the_stages(
    world: World, wanted: list[str], commanded: Path, tmp_path: Path
) -> None:
    class Told(shardrank.Silent):
        def __init__(self) -> None:
            self.stages: list[str] = []
            self.ends: list[str] = []

        def started(self, stage: str, units: int, resumed: int) -> None:
            self.stages.append(stage)

        def ended(self, outcome: shardrank.Outcome) -> None:
            self.ends.append(outcome.ending)

    told = Told()
    index = commanded / "index"
    shardrank.rank(index, world.queries, tmp_path / "out", overrides=wanted, reporter=told)
    assert [s for s in told.stages if s in ("encode", "search", "rerank", "collate")] == [
        "encode", "search", "rerank", "collate"
    ]  # fmt: skip
    assert told.ends == ["done"]


def test_the_process_is_left_as_it_was(
    world: World, wanted: list[str], commanded: Path, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    levels = logging.root.level, threading.active_count(), transformers_logging.get_verbosity()
    shardrank.rank(commanded / "index", world.queries, tmp_path / "out", overrides=wanted)
    found = torch.get_num_threads()
    torch.set_num_threads(before)
    assert found == 3
    now = logging.root.level, threading.active_count(), transformers_logging.get_verbosity()
    assert now == levels


PROGRAM = """
import os, signal, sys
import ray, shardrank
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
corpus, queries, root, *sets = sys.argv[1:]
shardrank.index(corpus, f"{root}/index", overrides=sets)
on_ray = ["cluster.executor=ray", "cluster.cpus=2", "cluster.object_store_mb=100", "search.k=5"]
found = shardrank.rank(f"{root}/index", queries, f"{root}/out", overrides=[*sets, *on_ray])
assert found.manifest.retrievers[0].k == 5 and not ray.is_initialized()
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_program_on_ray(world: World, wanted: list[str], tmp_path: Path) -> None:
    """Without a guard for its main module, with other settings in its second call; no Ray stays.
    Ray's end takes a handler of SIGTERM away, below Python: the program's own is there again."""
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [world.corpus, world.queries, str(tmp_path), *wanted]
    command = [sys.executable, "program.py", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "handled\n", "")


# What the documents show.


def python_blocks(name: str) -> list[str]:
    text = (ROOT / name).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["README.md", "docs/api.md"])
def test_the_example_of_a_document_runs(
    name: str,
    world: World,
    wanted: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a folder that holds its files, with tiny models in the place of the default ones."""
    for file in ("corpus.jsonl", "queries.jsonl", "qrels.tsv"):
        (tmp_path / file).write_bytes((world.root / file).read_bytes())
    (tmp_path / "settings.toml").write_text(toml_of(parse_settings({}, wanted)))
    monkeypatch.chdir(tmp_path)
    [block] = python_blocks(name)
    assert block.count("\n") <= 10
    exec(compile(block, name, "exec"), {})
    assert "nDCG@10" in capsys.readouterr().out
    assert (tmp_path / "my/ranked/report.html").exists()


def test_the_example_runs(
    world: World,
    wanted: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "settings.toml").write_text(toml_of(parse_settings({}, wanted)))
    words = ["index_and_rank.py", "--settings", str(tmp_path / "settings.toml")]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(ROOT / "examples/index_and_rank.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert all(query in printed for query in ("q1", "q2"))
    words += [world.corpus, world.queries, str(tmp_path / "made")]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(ROOT / "examples/index_and_rank.py"), run_name="__main__")
    assert capsys.readouterr().out.count("\nq0") == 12 * 3
    assert (tmp_path / "made/ranked/run.trec").exists()
