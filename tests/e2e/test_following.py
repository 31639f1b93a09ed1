"""A night without the first night's settings: what an index was made with is its own."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from sentence_transformers import SentenceTransformer

from tests.module_models import static
from tests.tiny_models import tiny_encoder
from tests.world import World, latest, make_world, shardrank, write_lines

pytestmark = pytest.mark.usefixtures("inline")

FIRST = (
    "encoder.document_prompt=text: ",
    "encoder.stored=fp32",
    "passages.max_tokens=20",
    "passages.overlap=3",
    "encoder.words.family=bm25",
    "encoder.words.stop_words=none",
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """With an encoder of its own, which may be moved and changed, and an index in "index"."""
    encoder = tiny_encoder(tmp_path / "encoder", "bert", dim=16)
    world = make_world(tmp_path, (encoder, encoder), documents=20, queries=1)
    assert shardrank(*world.index(tmp_path / "index", *FIRST)) == 0
    write_lines(tmp_path / "more.jsonl", [{"_id": "new", "text": "one more"}])
    return world


def night(world: World, *sets: str) -> int:
    """An upsert of one document, with no settings but these."""
    words = [word for value in sets for word in ("--set", value)]
    corpus = str(world.root / "more.jsonl")
    return shardrank("index", corpus, str(world.root / "index"), "--mode", "upsert", *words)


def test_what_is_not_set_stays(world: World) -> None:
    index = world.root / "index"
    before = latest(index)
    assert night(world) == 0
    after = latest(index)
    assert (after.parent, after.changes.embedded) == (1, 1)
    assert (after.recipe, dict(after.columns)) == (before.recipe, dict(before.columns))
    assert shardrank("index", world.corpus, str(index), "--set", "gate.max_change=1") == 0
    assert latest(index).changes.embedded == 0, "a snapshot, too"


def test_how_documents_are_cut_stays(world: World, tmp_path: Path) -> None:
    text = "# One\n\nfirst words\n\n## Two\n\nsecond words"
    rows = [{"_id": "a", "title": "T", "text": text}, {"_id": "b", "text": "plain words"}]
    write_lines(tmp_path / "corpus.jsonl", rows)
    index = tmp_path / "cut"
    how = ("passages.by=headings", "passages.markup=markdown")
    assert shardrank(*world.index(index, *how)) == 0
    [part] = (index / "parts").glob("*/passages.parquet")
    columns = pq.read_table(part, columns=["doc_id", "passage", "title", "text"])
    assert [tuple(row.values()) for row in columns.to_pylist()] == [
        ("a", 0, "T > One", "first words"),
        ("a", 1, "T > One > Two", "second words"),
        ("b", 0, "", "plain words"),
    ]
    assert shardrank("index", str(tmp_path / "more.jsonl"), str(index), "--mode", "upsert") == 0
    found = latest(index)
    assert (found.changes.embedded, found.recipe.by, found.recipe.markup) == (
        1,
        "headings",
        "markdown",
    )
    assert shardrank(*world.index(index, "passages.by=sentences")) == 3, "another cut: the gate"


def test_what_sentences_are_compared_by_stays(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A night needs no word of it; another table is another cut."""
    index, tables = tmp_path / "cut", [tmp_path / "one", tmp_path / "two"]
    for seed, table in enumerate(tables):
        torch.manual_seed(seed)
        SentenceTransformer(modules=[static()], device="cpu").save(str(table))
    rows = [{"_id": "a", "text": " ".join(["Wing flow heat. Shock wave."] * 9)}]
    write_lines(tmp_path / "corpus.jsonl", rows)
    how = ("passages.by=similarity", "passages.max_tokens=24")
    first = world.index(index, *how, f"passages.sentence_model={tables[0]}")
    assert shardrank(*first) == 0
    before = latest(index)
    assert before.recipe.sentences
    assert before.live.passages > 3
    allowed = ("--mode", "upsert", "--set", "gate.max_change=1")
    assert shardrank("index", str(tmp_path / "more.jsonl"), str(index), *allowed) == 0
    assert latest(index).recipe == before.recipe
    assert latest(index).changes.embedded == 1
    again = [word.replace(str(tables[0]), str(tables[1])) for word in first]
    assert shardrank(*again, "--set", "gate.max_change=1") == 3, "another cut: the gate"
    assert "passages.sentence_model, or its files," in " ".join(capsys.readouterr().err.split())
    model = world.index(index, *how, f"passages.sentence_model={world.encoder}")
    assert shardrank(*model) == 2
    assert "is no static table" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_was_moved_is_the_same(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = world.root / "elsewhere"
    shutil.move(world.encoder, moved)
    assert night(world) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"There is no model folder '{world.encoder}'" in told
    assert "The index was made with it: where it is now says --set encoder.model=…" in told
    assert night(world, f"encoder.model={moved}") == 0
    after = latest(world.root / "index")
    assert (after.changes.embedded, after.dense.settings.model) == (1, str(moved))
    assert after.dense.settings.document_prompt == "text: "


def test_weights_that_changed_in_their_place(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_encoder(world.root / "other", "bert", dim=32)
    shutil.rmtree(world.encoder)
    shutil.move(world.root / "other", world.encoder)
    assert night(world) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"the weights of {world.encoder}, which is named as before: sha256 from" in told


def test_a_further_column_too(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ("encoder.words.family=bm25", "encoder.words.stop_words=english")
    assert night(world, *sets) == 3
    told = " ".join(capsys.readouterr().err.split())
    assert "encoder.words.stop_words from none to english" in told
