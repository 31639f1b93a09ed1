"""What a corpus's files hold decides what an index holds: whole commands."""

import os
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.world import World, latest, make_world, shardrank, write_lines

SETS = (
    "index.kind=exact",
    "gate.max_deleted=1",
    "gate.max_change=100",
    "gate.max_changed=1",
    "corpus.tombstone=gone",
)

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=2, queries=2)


def index(world: World, corpus: Path, path: Path, mode: str, *sets: str) -> int:
    given = (f"encoder.model={world.encoder}", *SETS, *sets)
    words = [word for value in given for word in ("--set", value)]
    return shardrank("index", str(corpus), str(path), "--mode", mode, *words)


def live(path: Path) -> dict[str, str]:
    """Texts of live documents, all of one passage."""
    found = {}
    for part in latest(path).parts:
        deleted = part.deleted and (path / part.deleted.key).read_bytes()
        for row, passage in enumerate(pq.read_table(path / part.passages.key).to_pylist()):
            if not deleted or not deleted[row // 8] >> (row % 8) & 1:
                found[passage["doc_id"]] = passage["text"]
    return found


def changes(path: Path) -> dict[str, int]:
    """The counts of the last version, which add up; those of which there are none are left out."""
    counts = asdict(latest(path).changes)
    kinds = ("added", "changed", "unchanged", "tombstones", "superseded", "rejected")
    assert counts["rows"] == sum(counts[kind] for kind in kinds)
    return {kind: counts[kind] for kind in (*kinds, "deleted") if counts[kind]}


def test_a_night_finds_a_change_under_the_same_size_and_time(world: World, tmp_path: Path) -> None:
    corpus, built = tmp_path / "corpus.jsonl", tmp_path / "index"
    write_lines(
        corpus, [{"_id": "a", "text": "wing flow"}, {"_id": "b", "text": "heat", "gone": False}]
    )
    assert index(world, corpus, built, "snapshot") == 0
    before = corpus.stat()
    time.sleep(0.02)
    write_lines(
        corpus, [{"_id": "a", "text": "flow wing"}, {"_id": "b", "text": "heat", "gone": False}]
    )
    os.utime(corpus, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = corpus.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert index(world, corpus, built, "snapshot") == 0
    assert live(built) == {"a": "flow wing", "b": "heat"}
    assert changes(built) == {"changed": 1, "unchanged": 1}


def row(doc_id: str, text: str | None, at: int) -> dict[str, Any]:
    return {"_id": doc_id, "text": text, "gone": text is None, "at": at}


#: By place the last counts; by `at` the highest.
FEED = (
    [row("a", "wing", 3), row("b", None, 1), row("c", "heat", 2), row("new", "shock", 9)],
    [row("a", "flow", 2), row("b", "flow", 2), row("c", None, 1), row("a", "heat", 1)],
)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("sets", "wanted", "counts"),
    [
        (
            (),
            {"a": "heat", "b": "flow", "new": "shock", "kept": "flow"},
            {"added": 1, "changed": 2, "tombstones": 1, "superseded": 4, "deleted": 1},
        ),
        (
            ("corpus.order=at",),
            {"a": "wing", "b": "flow", "c": "heat", "new": "shock", "kept": "flow"},
            {"added": 1, "changed": 3, "superseded": 4},
        ),
    ],
    ids=["by place", "by order"],
)
def test_an_upsert_with_one_id_twice(
    world: World,
    tmp_path: Path,
    kind: str,
    sets: tuple[str, ...],
    wanted: dict[str, str],
    counts: dict[str, int],
) -> None:
    first, feed, built = tmp_path / "first.jsonl", tmp_path / "feed", tmp_path / "index"
    feed.mkdir()
    write_lines(
        first, [row(doc_id, "shock wing", 0) for doc_id in "abc"] + [row("kept", "flow", 0)]
    )
    assert index(world, first, built, "snapshot") == 0
    for number, rows in enumerate(FEED):
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), feed / f"{number}.parquet")
        else:
            write_lines(feed / f"{number}.jsonl", rows)
    assert index(world, feed, built, "upsert", *sets) == 0
    assert live(built) == wanted
    assert changes(built) == counts


def test_a_snapshot_with_one_id_twice(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, built = tmp_path / "corpus.jsonl", tmp_path / "index"
    write_lines(corpus, [row("a", "wing", 1), row("b", "heat", 1), row("a", "flow", 1)])
    assert index(world, corpus, built, "snapshot") == 3
    assert "1 of 3 rows would be rejected" in capsys.readouterr().err
    assert index(world, corpus, built, "snapshot", "gate.max_rejected=0.5") == 0
    told = capsys.readouterr().out
    assert re.search(r"^  rejected   1 duplicate_id; row by row in \S+/rejected/$", told, re.M)
    assert live(built) == {"a": "flow", "b": "heat"}
    assert changes(built) == {"added": 2, "rejected": 1}
    [found] = (built / "runs").glob("*/rejected/compare.parquet")
    [rejected] = pq.read_table(found).to_pylist()
    assert (rejected["row"], rejected["reason"]) == (0, "duplicate_id")


def test_orders_that_cannot_be_compared(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_lines(corpus / "1.jsonl", [row("a", "wing", 1)])
    write_lines(corpus / "2.jsonl", [{"_id": "a", "text": "flow", "at": "2026-11-29"}])
    assert index(world, corpus, tmp_path / "index", "snapshot", "corpus.order=at") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "column 'at' holds numbers" in said
    assert "2.jsonl" in said.replace(" ", "")
    assert index(world, corpus, tmp_path / "index", "snapshot", "corpus.order=when") == 2
    assert "has no column 'when'" in " ".join(capsys.readouterr().err.split())
