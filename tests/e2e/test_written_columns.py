"""Texts that a language model writes about passages through whole flows: written once, read by
BM25 and vectors, kept at night, refused."""

import json
import re
import runpy
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import shardrank as api
from shardrank.core.errors import SettingsError
from shardrank.core.written import Beside
from shardrank.models.encoders.expanded import expanded
from shardrank.models.text_writer import TextWriter, Written
from tests.every_column import Stored, live_column, live_passages
from tests.hybrid import Bm25Oracle, lists_of, words
from tests.tiny_language import tiny_language
from tests.world import SMALL_PARTS, World, latest, make_world, shardrank, write_lines

pytestmark = pytest.mark.usefixtures("inline")

ROOT = Path(__file__).parents[2]
PROMPT = "method: writing\nbody: 'About: {text}'\ngives: lines\n"


@dataclass(frozen=True)
class Scene:
    """A world, a language model with a prompt, and an index with a column of each kind."""

    world: World
    language: Path
    prompt: Path
    index: Path

    @property
    def sets(self) -> tuple[str, ...]:
        """Settings of the first night, which every later one keeps."""
        encoder = self.world.encoder
        return (
            *SMALL_PARTS,
            *(f"encoder.written.{each}" for each in self.writing),
            *("encoder.words.family=bm25", "encoder.words.of=written"),
            *("encoder.mean.model=" + str(encoder), "encoder.mean.of=written"),
            *("encoder.views.model=" + str(encoder), "index.views.kind=exact"),
        )

    @property
    def writing(self) -> tuple[str, ...]:
        model, filter_ = f"model={self.language}", f"filter_model={self.world.encoder}"
        prompt = f"prompt={self.prompt}"
        return (model, prompt, "count=3", "answer_tokens=12", filter_, "keep_rank=8")

    def night(self, index: Path, rows: Sequence[dict[str, Any]], *sets: str) -> int:
        corpus = write_lines(index.parent / f"{index.name}.jsonl", rows)
        values = (f"encoder.model={self.world.encoder}", *sets)
        given = [word for value in values for word in ("--set", value)]
        return shardrank("index", corpus, str(index), *given)


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: pytest.MonkeyPatch
) -> Scene:
    root = tmp_path_factory.mktemp("written")
    inline.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
    prompt = root / "prompt.yaml"
    prompt.write_text(PROMPT)
    world = make_world(root, models, 30, queries=4)
    found = Scene(world, tiny_language(root / "language"), prompt, root / "index")
    assert found.night(found.index, world.rows("corpus"), *found.sets) == 0
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passages that the language model was asked about since."""
    found: list[str] = []
    write = TextWriter.write

    def heard(self: TextWriter, inputs: Sequence[str]) -> Any:
        found.extend(inputs)
        return write(self, inputs)

    monkeypatch.setattr(TextWriter, "write", heard)
    return found


def copied(scene: Scene, folder: Path) -> Path:
    return Path(shutil.copytree(scene.index, folder / "index"))


def texts_of(index: Path) -> dict[tuple[str, int, str], list[str]]:
    version = latest(index)
    values = live_column(index, version, "written").to_pylist()
    return dict(zip(live_passages(index, version), values, strict=True))


def markers(index: Path, stage: str) -> list[dict[str, int]]:
    files = sorted((index / "units" / stage).glob("*.json"))
    return [json.loads(file.read_text())["counts"] for file in files]


def test_every_passage_has_its_texts(scene: Scene) -> None:
    texts = texts_of(scene.index)
    counts = markers(scene.index, "embed-written")
    assert sum(each["rows"] for each in counts) == len(texts)
    assert all(each["kept"] + each["dropped"] == each["written"] for each in counts)
    assert sum(each["kept"] for each in counts) == sum(map(len, texts.values())) > 0
    assert sum(each["dropped"] for each in counts) > 0
    version = latest(scene.index)
    assert set(version.indexes) == {"dense", "words", "mean", "views"}
    assert version.columns["written"].codec is not None
    assert shardrank("verify", str(scene.index)) == 0


def test_programs_read_them(scene: Scene) -> None:
    found = api.open_index(scene.index)
    rows = pa.concat_tables(found.written()).to_pylist()
    told = {(row["doc_id"], row["passage"], row["text"]): row["written"] for row in rows}
    assert told == texts_of(scene.index)
    with pytest.raises(SettingsError, match="no column 'words' of written texts"):
        found.written("words")


def test_who_reads_them_finds_what_stands_in_them(scene: Scene, tmp_path: Path) -> None:
    """BM25 by hand, of the passages with the texts behind them; a view is as near as its nearest
    vector."""
    out = tmp_path / "out"
    names = ("words", "mean", "views")
    retrievers = [f"retriever.{name}.index={name}" for name in names]
    away = scene.language.rename(tmp_path / "away")  # queries are written nowhere
    try:
        given = [*SMALL_PARTS, "search.k=12", *retrievers]
        assert shardrank(*scene.world.rank(scene.index, out, *given)) == 0
    finally:
        away.rename(scene.language)
    stored = Stored(scene.index, out)
    texts = texts_of(scene.index)
    read = Beside([text for _, _, text in texts], list(texts.values()))
    cut = [words(text) for text in expanded(read, "append")]
    oracle = Bm25Oracle({str(n): [each] for n, each in enumerate(cut)}, "english", 1.5, 0.75)
    places = {(doc, number): n for n, (doc, number, _) in enumerate(texts)}
    questions = {row["_id"]: row["text"] for row in scene.world.rows("queries")}
    views = stored.column("views")
    for query, lists in lists_of(out).items():
        by_name = dict(zip(names, lists, strict=True))
        for hit in by_name["words"]:
            wanted = oracle.score(words(questions[query]), cut[places[hit.doc_id, hit.passage]])
            assert hit.score == pytest.approx(wanted, rel=1e-3)
        vector = stored.made("dense", [questions[query]], queries=True).to_pylist()[0]
        for hit in by_name["views"]:
            held = views[places[hit.doc_id, hit.passage]].as_py()
            products = [sum(a * b for a, b in zip(vector, v, strict=True)) for v in held]
            assert hit.score == pytest.approx(max(products), abs=2e-3)
        assert len(by_name["mean"]) == 12


def test_a_night_writes_for_what_is_new(scene: Scene, tmp_path: Path, asked: list[str]) -> None:
    index, rows = copied(scene, tmp_path), scene.world.rows("corpus")
    before = texts_of(index)
    assert scene.night(index, rows) == 0
    assert asked == [], "nothing changed"
    changed = [{**row, "text": "wing flutter"} if n == 3 else row for n, row in enumerate(rows)]
    assert scene.night(index, changed[:-2]) == 0
    assert asked == ["wing flutter"]
    after = texts_of(index)
    assert all(before[key] == after[key] for key in before.keys() & after.keys())
    assert len(after.keys() - before.keys()) == 1
    given = ["--set", f"encoder.model={scene.world.encoder}"]
    assert shardrank("compact", str(index), *given) == 0
    assert (asked, texts_of(index)) == (["wing flutter"], after)


def test_deleted_passages_are_not_written_about(
    scene: Scene, tmp_path: Path, asked: list[str]
) -> None:
    """A column that is added after documents are gone from parts that stay."""
    index, rows = tmp_path / "index", scene.world.rows("corpus")
    assert scene.night(index, rows, *SMALL_PARTS) == 0
    left = rows[2:]
    written = (f"encoder.written.{each}" for each in scene.writing)
    assert scene.night(index, left, *SMALL_PARTS, *written) == 0
    assert any(part.deleted for part in latest(index).parts)
    assert set(asked) == {text for _, _, text in texts_of(index)}


def test_the_gate_sees_another_prompt_before_anything_is_written(
    scene: Scene, tmp_path: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    index, rows = copied(scene, tmp_path), scene.world.rows("corpus")
    other = tmp_path / "other.yaml"
    other.write_text(PROMPT.replace("About", "On"))
    model = f"encoder.written.model={scene.language}"
    for setting in (f"prompt={other}", "count=2", "keep_rank=3"):
        assert scene.night(index, rows, model, f"encoder.written.{setting}") == 3
        said = " ".join(capsys.readouterr().err.split())
        name = setting.partition("=")[0]
        assert f"encoder.written.{name} from" in said
        assert "encoder.words reads written, which changed" in said
        assert "encoder.views reads written, which changed" in said
    assert asked == []
    given = (model, f"encoder.written.prompt={other}", "gate.reembed=true")
    assert scene.night(index, rows, *given) == 0
    assert len(asked) == len(set(asked)) == len(texts_of(index))


def test_a_prompt_that_is_gone_is_held_by_the_version(
    scene: Scene, tmp_path: Path, asked: list[str]
) -> None:
    index = copied(scene, tmp_path)
    away = scene.prompt.rename(tmp_path / "away.yaml")
    try:
        more = [*scene.world.rows("corpus"), {"_id": "new", "text": "shock tube"}]
        assert scene.night(index, more) == 0
    finally:
        away.rename(scene.prompt)
    assert asked == ["shock tube"]


REFUSED = {
    "encoder.words.of=dense": "reads 'dense', which holds no written texts",
    "encoder.views.of=none": "Input should be a valid string",
    "encoder.of=written": "no [[encoder]] before it makes",
    "index.written.kind=exact": "index.written.kind is of vectors",
    "encoder.bits.of=written": "which holds no dense vectors",
    "encoder.written.prompt=relevance": "method",
    "encoder.written.filter_model=nowhere": "nowhere",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_what_cannot_be_is_refused_before_any_work(
    scene: Scene, tmp_path: Path, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    index = tmp_path / "index"
    assert scene.night(index, scene.world.rows("corpus"), *scene.sets, setting) == 2
    assert REFUSED[setting] in " ".join(capsys.readouterr().err.split())
    assert not (index / "units").exists()


def test_a_plan_knows_the_columns(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    words_ = scene.world.index(scene.index.parent / "none", *scene.sets)
    assert shardrank("plan", *words_) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"written: written, .* about 12 tokens written a passage", said)
    assert "views: views of written" in said
    asked = [str(scene.index), scene.world.queries, "--set", "reranker.model=off"]
    model = ["--set", f"encoder.model={scene.world.encoder}"]
    assert shardrank("plan", "rank", *asked, *model) == 0
    assert "words" in capsys.readouterr().out


def test_the_example_answers_by_questions(
    scene: Scene,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With tiny models, so of what a question is no more than its words."""

    def questions(self: TextWriter, inputs: Sequence[str]) -> Any:
        return Written([(f"what is {text.lower()}",) for text in inputs], Counter())

    monkeypatch.setattr(TextWriter, "write", questions)
    models = ("--writer", str(scene.language), "--encoder", str(scene.world.encoder))
    monkeypatch.setattr(sys, "argv", ["question_memory.py", str(tmp_path / "made"), *models])
    runpy.run_path(str(ROOT / "examples/question_memory.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "3 questions are remembered" in printed
    assert printed.count("  as: what is ") == 2
    rows = (tmp_path / "made/memory.jsonl").read_text().splitlines()
    assert [json.loads(row)["passage"] for row in rows] == ["pump:0", "valve:0", "tank:0"]
