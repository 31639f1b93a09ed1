"""Whole commands on corpora that are not all that they seem: refused, or read and listed."""

import bz2
import gzip
import json
import shutil
import time
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.world import VOCABULARY, World, latest, make_world, shardrank, versions

SETS = ("passages.part_size=16", "search.k=10", "reranker.model=off", "gate.max_deleted=1")
#: A bad folder or file on this machine is refused within this, of the processor: others share it.
SECONDS = 3.0

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=2, queries=2)


def lines(first: int, count: int, **more: object) -> bytes:
    rows = (
        {"_id": f"d{n}", "text": VOCABULARY[n % 9], **more} for n in range(first, first + count)
    )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Store:
    """A folder of two files, and the index of its first night."""

    def __init__(self, world: World, root: Path) -> None:
        self.world, self.corpus, self.index = world, root / "corpus", root / "index"
        self.corpus.mkdir()
        (self.corpus / "a.jsonl").write_bytes(lines(0, 30))
        (self.corpus / "b.jsonl").write_bytes(lines(30, 10))

    def words(self, *sets: str, corpus: str | None = None) -> list[str]:
        command = self.world.index(self.index, *SETS, *sets)
        return [command[0], corpus or str(self.corpus), *command[2:]]

    def night(self, *sets: str, corpus: str | None = None) -> int:
        return shardrank(*self.words(*sets, corpus=corpus))

    def refused(self, *sets: str, corpus: str | None = None) -> None:
        """Exit code 2 before Ray, soon, with nothing published; and so says the plan."""
        before = versions(self.index)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("shardrank.flows.running.opened", _refuse)
            began = time.process_time()
            assert self.night(*sets, corpus=corpus) == 2
            assert time.process_time() - began < SECONDS
        assert shardrank("plan", *self.words(*sets, corpus=corpus)) == 2
        assert versions(self.index) == before


def _refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("Ray was asked for.")


@pytest.fixture
def store(world: World, tmp_path: Path) -> Store:
    store = Store(world, tmp_path)
    assert store.night() == 0
    assert latest(store.index).live.documents == 40
    return store


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was said, in words, gathered at each look."""

    class Said(list[str]):
        def __contains__(self, words: object) -> bool:
            captured = capsys.readouterr()
            self.append(" ".join((captured.out + captured.err).split()))
            return any(str(words) in text for text in self)

    return Said()


@pytest.mark.parametrize(
    ("encode", "what"),
    [
        (gzip.compress, "look like gzip"),
        (lambda data: data.replace(b"\n", b"\r"), "lines that end in CR alone"),
        (lambda data: data.decode().encode("utf-16"), "look like UTF-16"),
    ],
)
def test_a_file_that_cannot_be_read_deletes_nothing(
    store: Store, said: list[str], encode: object, what: str
) -> None:
    path = store.corpus / "b.jsonl"
    path.write_bytes(encode(path.read_bytes()))  # type: ignore[operator]
    store.refused()
    assert f"{path} is not what its name says" in said
    assert what in said
    out = str(store.index.parent / "out")
    assert shardrank(*store.world.rank(store.index, out, *SETS)) == 0
    path.write_bytes(lines(30, 10))
    assert store.night() == 0
    assert latest(store.index).live.documents == 40


def test_a_file_without_a_readable_row_is_known_before_it_is_compared(
    store: Store, said: list[str]
) -> None:
    before, path = versions(store.index), store.corpus / "b.jsonl"
    rows = (json.loads(line) for line in path.read_bytes().splitlines())
    path.write_text("\n".join(json.dumps(row, indent=2) for row in rows))
    for _ in range(2):  # the second finds the scan done
        assert store.night("corpus.slice_bytes=100") == 2
        assert f"{path} cannot be read, not one of its 40 rows" in said
        assert "a JSON object over several lines" in said
    assert versions(store.index) == before
    assert list((store.index / "runs").glob("*/rejected/scan.parquet"))


def test_queries_that_cannot_be_read(store: Store, said: list[str], tmp_path: Path) -> None:
    queries = tmp_path / "queries"
    queries.mkdir()
    (queries / "a.jsonl").write_bytes(Path(store.world.queries).read_bytes())
    (queries / "b.jsonl").write_bytes(gzip.compress(b"{}"))
    command = store.world.rank(store.index, tmp_path / "out", *SETS)
    command[2] = str(queries)
    assert shardrank(*command) == 2
    assert "b.jsonl is not what its name says: its first bytes look like gzip" in said
    (queries / "b.jsonl").write_text("{\n}\n")
    assert shardrank(*command) == 2
    assert "b.jsonl cannot be read, not one of its 2 rows" in said


@pytest.mark.parametrize("inside", ["", "/*.parquet", "/lang=en"])
def test_a_delta_table(store: Store, said: list[str], tmp_path: Path, inside: str) -> None:
    table = tmp_path / "table"
    (table / "_delta_log").mkdir(parents=True)
    (table / "_delta_log" / f"{0:020}.json").write_text("{}\n")
    (table / "lang=en").mkdir()
    rows = pa.table({"_id": ["d0"], "text": ["wing"]})
    for place in (table, table / "lang=en"):
        pq.write_table(rows, place / "part-00000-0-c000.snappy.parquet")
    store.refused(corpus=f"{table}{inside}")
    assert f"{table} is a Delta Lake table" in said
    assert f"DeltaTable('{table}').to_pyarrow_table()" in said


def test_a_file_left_out_stops_the_night_unless_allowed(store: Store, said: list[str]) -> None:
    path = store.corpus / "b.jsonl"
    (store.corpus / "b.jsonl.bz2").write_bytes(bz2.compress(path.read_bytes()))
    (store.corpus / "README.md").write_text("about")
    path.unlink()
    store.refused()
    assert f"{path}.bz2: .jsonl.bz2 is not read" in said
    assert "--set corpus.allow_unread=true" in said
    assert shardrank("plan", *store.words("corpus.allow_unread=true")) == 0
    assert f"read {store.corpus}/a.jsonl" in said
    assert f"{store.corpus}/README.md: about the data, by its name" in said
    assert store.night("corpus.allow_unread=true") == 0
    assert "left out 1 about the data, by its name; 1 .jsonl.bz2 is not read; files in" in said
    assert latest(store.index).live.documents == 30
    run = latest(store.index).made.run
    kept = pq.read_table(store.index / "runs" / run / "sources.parquet").to_pylist()
    assert {Path(row["source"]).name: row["reason"] for row in kept} == {
        "a.jsonl": None,
        "README.md": "about the data, by its name",
        "b.jsonl.bz2": ".jsonl.bz2 is not read",
    }


def test_other_names_and_linked_folders_are_read(store: Store, said: list[str]) -> None:
    aside = store.corpus.parent / "aside"
    aside.mkdir()
    (aside / "c.jl").write_bytes(lines(40, 5))
    (aside / "d.jsonlines.gz").write_bytes(gzip.compress(lines(45, 5)))
    pq.write_table(pa.table({"_id": ["d50"], "text": ["wing"]}), aside / "e.pq")
    (store.corpus / "linked").symlink_to(aside)
    assert store.night() == 0
    assert latest(store.index).live.documents == 51
    assert store.night(corpus=f"{store.corpus}/**/*") == 0
    assert "is already the latest; nothing changed" in said
    assert "51 = 51 unchanged" in said


@pytest.mark.parametrize("setting", ["title", "tombstone"])
def test_a_misspelt_column(store: Store, said: list[str], setting: str) -> None:
    before = versions(store.index)
    (store.corpus / "b.jsonl").write_bytes(lines(30, 10, headline="h", deleted=False))
    assert store.night(f"corpus.{setting}=delete") == 2
    assert f"No file has a column 'delete' (corpus.{setting}); there are _id, deleted" in said
    assert versions(store.index) == before
    assert store.night("corpus.title=headline", "corpus.tombstone=deleted") == 0
    shutil.rmtree(store.corpus)
    store.corpus.mkdir()
    pq.write_table(pa.table({"_id": ["d0"], "text": ["wing"]}), store.corpus / "a.parquet")
    store.refused(f"corpus.{setting}=delete", "gate.max_change=1")
    assert f"No file has a column 'delete' (corpus.{setting}); there are _id, text" in said


def test_a_night_without_tombstones(store: Store) -> None:
    """The column was met before, so that its name is no slip: this night deletes nothing."""
    rows = b'{"_id": "new", "text": "wing", "gone": false}\n'
    (store.corpus / "c.jsonl").write_bytes(rows)
    assert store.night("corpus.tombstone=gone") == 0
    (store.corpus / "c.jsonl").write_bytes(rows.replace(b', "gone": false', b""))
    assert store.night("corpus.tombstone=gone") == 0


def test_a_partition_of_tombstones(store: Store) -> None:
    for gone, first in (("true", 0), ("false", 40)):
        folder = store.corpus.parent / "feed" / f"gone={gone}"
        folder.mkdir(parents=True)
        (folder / "part-0.jsonl").write_bytes(lines(first, 5))
    words = store.words("corpus.tombstone=gone", corpus=str(store.corpus.parent / "feed"))
    assert shardrank(*words, "--mode", "upsert") == 0
    changes = latest(store.index).changes
    assert (changes.tombstones, changes.deleted, changes.added) == (5, 5, 5)
