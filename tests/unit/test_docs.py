"""The documents are true: settings, commands, paths, links, targets, columns exist as written."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from inspect import isfunction, signature
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

import shardrank
from shardrank.core.overrides import kinds_of, parse_settings
from shardrank.core.schemas import RANKINGS, REJECTED
from shardrank.core.settings import Settings
from shardrank.jobs.cli import app
from shardrank.models.folder import layout, logit_score, modules, sentence_config

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/api.md",
    "docs/cluster.md",
    "docs/collections.md",
    "docs/cpus.md",
    "docs/files.md",
    "docs/hybrid.md",
    "docs/kubernetes.md",
    "docs/labels.md",
    "docs/measured.md",
    "docs/measured-clusters.md",
    "docs/measured-rerankers.md",
    "docs/measured-retrieval.md",
    "docs/measured-speed.md",
    "docs/models.md",
    "docs/nights.md",
    "docs/rerankers.md",
    "docs/seeds.md",
    "docs/settings.md",
    "docs/watching.md",
)
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in DOCUMENTS}
#: What a fence of code looks like, from its language to its end.
FENCE = r"^```{language}\n(.*?)^```"


def settings_table() -> str:
    """The table as it should stand in docs/settings.md: paste what this test prints."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    seen: set[str] = set()
    for name, one in known():
        row = f"`{default(one.default)}` | {one.description} |"
        # What a further family has as the first has it is not listed again.
        plain = f"{re.sub(FAMILY, '.', name)} | {row}"
        if plain not in seen:
            rows.append(f"| `{name}` | {row}")
        if plain.startswith(name):
            seen.add(plain)
    return "\n".join(rows)


#: Of a setting's name, what names the family.
FAMILY = r"\.[a-z0-9_]+\."


def known() -> Iterator[tuple[str, FieldInfo]]:
    """All settings by name; those of a family beside the first by the name that its table has."""
    for table in Settings.model_fields:
        for number, kind in enumerate(kinds_of(table)):
            family = f".{kind.model_fields['family'].default}" if number else ""
            for name, one in kind.model_fields.items():
                yield f"{table}{family}.{name}", one


def default(value: Any) -> str:
    """A default as TOML writes it; none, which TOML lacks, as --set takes it."""
    if value is PydanticUndefined:
        return "—"
    return "none" if value is None else json.dumps(value)


def blocks(language: str) -> list[str]:
    """The fenced code blocks of a language in all documents."""
    fence = re.compile(FENCE.format(language=language), re.MULTILINE | re.DOTALL)
    return [block for text in TEXTS.values() for block in fence.findall(text)]


def prose(text: str) -> str:
    """A document without its fenced code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    """Every `shardrank …` line: in console blocks after "$ ", and whole inline code spans."""
    shown = [line for block in blocks("console") for line in block.splitlines()]
    typed = [line.removeprefix("$ ") for line in shown if line.startswith("$ ")]
    spans = re.findall(
        r"`(?:\.venv/bin/)?(shardrank [^`\n]+)`", "\n".join(map(prose, TEXTS.values()))
    )
    spoken = [line for line in spans if len(line.split()) > 2]  # a bare name takes no arguments
    return list(dict.fromkeys([*typed, *spoken]))


def bare_commands() -> set[str]:
    """Commands that the documents only name, such as `shardrank status`."""
    return {name for text in TEXTS.values() for name in re.findall(r"`shardrank (\w+)`", text)}


def parse(line: str) -> list[str]:
    """Parse a command line without running it; returns its --set values.

    Raises what click raises where a command, option or argument does not exist or is missing.
    """
    program, *arguments = shlex.split(line, comments=True)
    assert program == "shardrank", line
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        assert arguments, f"{line}: which subcommand?"
        assert arguments[0] in command.commands, f"{line}: there is no {arguments[0]}"
        command = command.commands[arguments.pop(0)]
    return list(command.make_context(line, arguments).params.get("overrides") or [])


def tree_paths() -> Iterator[str]:
    """The paths of the commented tree; two spaces of indentation are one folder."""
    [block] = [block for block in blocks("text") if block.startswith("jobs/")]
    folders: list[str] = []
    for line in block.splitlines():
        name = line.split("#")[0].rstrip()
        depth = (len(name) - len(name.lstrip())) // 2
        folders = [*folders[:depth], name.strip().rstrip("/")]
        yield "/".join(folders)


def links(document: str) -> list[tuple[Path, str]]:
    """Relative links of a document: the file, and what follows a # ("": nothing)."""
    found = re.findall(r"\]\(([^)\s]+)\)", TEXTS[document])
    pairs = [link.partition("#") for link in found if "://" not in link]
    beside = (ROOT / document).parent
    return [(beside / name if name else ROOT / document, part) for name, _, part in pairs]


def anchors(path: Path) -> set[str]:
    """What a # may be followed by: the headings of a document, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", prose(path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_document_is_looked_at() -> None:
    there = [path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))]
    assert sorted(map(str, there)) == sorted(DOCUMENTS)


def test_the_readme_stays_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 200


def test_the_readme_links_to_every_document() -> None:
    linked = {path.relative_to(ROOT) for path, _ in links("README.md")}
    assert {Path(name) for name in DOCUMENTS if name != "README.md"} <= linked


def test_a_release_has_at_most_ten_points() -> None:
    for release in TEXTS["CHANGELOG.md"].split("\n## ")[1:]:
        assert len(re.findall(r"^[-|]", release, re.MULTILINE)) <= 10


def test_the_readme_says_how_to_begin_and_what_ci_runs() -> None:
    assert {"make demo", "make test"} <= set(
        re.findall(r"^    (make \w+)", TEXTS["README.md"], re.M)
    )
    assert "\nmake test\n" in (ROOT / ".ci/run").read_text("utf-8")


def test_the_settings_table_lists_what_there_is() -> None:
    assert settings_table() in TEXTS["docs/settings.md"], settings_table()
    assert sum(text.count("| setting | default | meaning |") for text in TEXTS.values()) == 1


def test_named_settings_exist() -> None:
    tables = "|".join(Settings.model_fields)
    pattern = rf"`(?:--set )?((?:{tables})(?:\.(?!jsonl|parquet)[a-z0-9_]+)+)(?: ?=[^`]*)?`"
    spoken = set(re.findall(pattern, "\n".join(map(prose, TEXTS.values()))))
    # Of several tables one is named: `retriever.bm25.k1` is the setting `retriever.k1`.
    plain = {re.sub(r"\.[a-z0-9_]+(?=\.)", "", name) for name, _ in known()}
    assert {re.sub(r"\.[a-z0-9_]+(?=\.)", "", name) for name in spoken} <= plain


def test_there_are_command_lines_to_check() -> None:
    assert len(command_lines()) > 30


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_parses(line: str) -> None:
    parse_settings({}, parse(line))


def test_named_commands_exist() -> None:
    known = getattr(get_command(app), "commands", {})
    assert bare_commands() <= set(known)


@pytest.mark.parametrize(
    "line", ["shardrank nothing", "shardrank rank a b", "shardrank plan index a b --no-such"]
)
def test_the_parser_catches_a_planted_error(line: str) -> None:
    with pytest.raises(Exception, match=r"nothing|out|no-such"):
        parse(line)


@pytest.mark.parametrize("block", blocks("toml"))
def test_a_settings_file_parses(block: str) -> None:
    parse_settings(tomllib.loads(block), [])


@pytest.mark.parametrize("block", blocks("json"))
def test_rows_are_json_lines(block: str) -> None:
    assert all("_id" in json.loads(line) for line in block.splitlines())


@pytest.mark.parametrize("block", blocks("python"))
def test_python_code_compiles(block: str) -> None:
    compile(block, "a document", "exec")


@pytest.mark.parametrize("path", list(tree_paths()))
def test_a_path_of_the_tree_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_tree_names_every_package() -> None:
    packages = {f"pipelines/{path.parent.name}" for path in ROOT.glob("pipelines/*/__init__.py")}
    assert packages <= set(tree_paths())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_resolve(document: str) -> None:
    found = links(document)
    assert [path for path, _ in found if not path.exists()] == []
    assert [(p, part) for p, part in found if part and part not in anchors(p)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(document: str) -> None:
    text = TEXTS[document]
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert named <= set(targets)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_modules_exist(document: str) -> None:
    text = TEXTS[document]
    named = set(re.findall(r"`((?:pipelines|jobs|infra|tests)/[\w/.-]+)`", text))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_columns_are_those_that_are_written() -> None:
    text = TEXTS["docs/files.md"]
    rows = re.findall(r"^\| `(\w+)` \| (string|int32|float32) \|", text, re.MULTILINE)
    names = {pa.float32(): "float32"}
    assert rows == [(field.name, names.get(field.type, str(field.type))) for field in RANKINGS]
    assert f"`{', '.join(REJECTED.names)}`" in text


def test_every_key_that_is_read_of_a_models_folder_is_named() -> None:
    text = TEXTS["docs/models.md"]
    lists = [modules._MODULE, modules._DENSE, modules._ROUTER, modules._ROUTES, layout._CALL]
    lists += [sentence_config._ENCODER, sentence_config._RERANKER, logit_score._LOGIT_SCORE]
    named = set(re.findall(r"`([\w ]+)`", text))
    assert {key for keys in lists for key in (*keys.read, *keys.fixed)} - {
        "module_input_name", "module_output_name", "config_args", "similarity_fn_name"
    } <= named  # fmt: skip


def mechanisms() -> list[list[str]]:
    """The rows of docs/seeds.md: paper, what it does, setting, test, figure."""
    lines = [line for line in TEXTS["docs/seeds.md"].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@pytest.mark.parametrize("row", mechanisms(), ids=lambda row: str(row[0]))
def test_a_mechanism_has_a_setting_a_test_and_a_figure(row: list[str]) -> None:
    """Settings, commands and links that do not exist fail in the tests of all documents."""
    assert len(row) == 5
    _, what, turned_on, held_by, measured = row
    assert what
    named = re.findall(r"`([^`]+)`", turned_on)
    assert named
    examples = [name for name in named if "/" in name]
    assert all((ROOT / name).is_file() for name in examples)
    settings = "|".join(Settings.model_fields)
    kinds = rf"(?:{settings})\.[a-z0-9_.]+(?: = .+)?|shardrank \w+|examples/\w+\.py"
    assert [name for name in named if not re.fullmatch(kinds, name)] == []
    tests = re.findall(r"`(tests/[\w/]+\.py)`", held_by)
    assert tests
    assert all((ROOT / name).is_file() for name in tests)
    assert measured.startswith("not measured") or "](" in measured


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_figure_is_left_to_fill_in(document: str) -> None:
    assert re.findall(r"<<\w+>>", TEXTS[document]) == []


def test_what_there_is_for_programs_is_told() -> None:
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", TEXTS["docs/api.md"]))))
    functions = [each for name in shardrank.__all__ if isfunction(each := getattr(shardrank, name))]
    arguments = {name for each in functions for name in signature(each).parameters}
    assert "command" in arguments
    assert {*shardrank.__all__, *arguments} <= words
