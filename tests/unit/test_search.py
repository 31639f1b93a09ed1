"""A shard searched for a batch of queries, however its blocks are grouped."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import vector_column
from shardrank.core.errors import IntegrityError
from shardrank.core.files import FileRef
from shardrank.core.schemas import column_schema, passages_schema
from shardrank.core.units import Unit
from shardrank.corpus.part_keys import part_keys
from shardrank.index.codec import train_codec
from shardrank.index.shard import build_shard
from shardrank.stages.rank.opening import Effort
from shardrank.stages.rank.search import Search, SearchBatch, Searched, SearchSpec
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.open_shards import (
    SearchedShard,
    document_numbers,
    passages_a_document,
)
from shardrank.stages.shared.part_blocks import PartColumn
from shardrank.storage.local import LocalStorage
from shardrank.version.sizing import CodecPlan, Kind, query_bytes
from tests.memory import peak_bytes

DIM, ROWS, PARTS, K = 8, 210, 3, 7
EFFORTS: dict[Kind, Effort] = {"exact": Effort(K, 0, 0), "ivfpq": Effort(K, 1, 20)}
BLOCKS = (5, 9, 1, 7, 7)


@dataclass(frozen=True)
class Counting(LocalStorage):
    """A folder that remembers what was read."""

    reads: list[str] = field(default_factory=list)

    def read_checked(self, ref: FileRef) -> bytes:
        self.reads.append(ref.key)
        return super().read_checked(ref)


@dataclass(frozen=True)
class Batch:
    """A shard of PARTS parts, and blocks of queries, in a folder."""

    workspace: Workspace
    unit: Unit[SearchSpec]
    queries: list[FileRef]

    def worker(self, device: str = "cpu") -> Search:
        given = SearchBatch(self.queries, DIM, 1 << 30, device)
        return Search(self.workspace, self.workspace, given)

    def run(self) -> Result[Searched]:
        return self.worker()(self.unit, {})

    def reads(self, begin: str) -> int:
        """How many files of such a name were read."""
        assert isinstance(self.workspace.storage, Counting)
        return sum(key.startswith(begin) for key in self.workspace.storage.reads)


def vectors(rows: int, seed: int) -> Float32:
    drawn = np.random.default_rng(seed).normal(size=(rows, DIM))
    return np.round(drawn, 1).astype(np.float32)


def document(row: int) -> int:
    return min(row // 2, (ROWS - 40) // 2)


def write_part(workspace: Workspace, number: int) -> PartColumn:
    """Documents of two passages; but the last has 40."""
    schema = passages_schema(100)
    rows = [
        {
            "doc_id": f"{(7 * number + document(row)) % 211:03d}-{number}",
            "passage": row - 2 * document(row),
            "title": "",
            "text": "",
            "content_hash": "",
            "tokens": [1],
            "truncated": False,
        }
        for row in range(ROWS)
    ]
    stored = pa.table(
        {"vector": vector_column(vectors(ROWS, number))},
        schema=column_schema(pa.list_(pa.float32(), DIM)),
    )
    passages = pa.Table.from_pylist(rows, schema=schema)
    written = workspace.write_table(f"parts/{number}.vectors", stored)
    keys = workspace.write_table(f"parts/{number}.keys", part_keys(passages))
    return PartColumn(number, f"part-{number}", keys, written, None)


def write_shard(workspace: Workspace) -> FileRef:
    held = np.concatenate([vectors(ROWS, number) for number in range(PARTS)])
    codec = train_codec(held, CodecPlan("ivfpq", 4, 4, 4, False, len(held), 0))
    shard = build_shard(codec, [(np.arange(len(held)), held)])
    return workspace.write_content("shards/{}", shard, len(held))


def batch(folder: Path, kind: Kind, blocks: tuple[int, ...] = BLOCKS) -> Batch:
    workspace = Workspace(Counting(str(folder)))
    queries = [
        workspace.write_table(
            f"queries/{n}.parquet", pa.table({"vector": vector_column(vectors(rows, 100 + n))})
        )
        for n, rows in enumerate(blocks)
    ]
    file = write_shard(workspace) if kind == "ivfpq" else None
    parts = tuple(write_part(workspace, number) for number in range(PARTS))
    spec = SearchSpec(kind, SearchedShard(file, parts, K), tuple(queries), EFFORTS[kind])
    return Batch(workspace, Unit("search", spec), queries)


def at_once(monkeypatch: pytest.MonkeyPatch, queries: int) -> None:
    """Search so many queries together, or a block where it has more."""
    monkeypatch.setattr("shardrank.stages.rank.opened.queries_at_once", lambda *sizes: queries)


@pytest.mark.parametrize("kind", EFFORTS)
def test_grouping_changes_no_byte(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = batch(tmp_path, kind)
    whole = made.run()
    assert len(whole.made.hits) == len(BLOCKS)
    assert whole.counts == {"rows": sum(BLOCKS), "hits": K * sum(BLOCKS)}
    for queries in (1, 9, 14, 15, 20, 28):
        at_once(monkeypatch, queries)
        assert made.run() == whole


@pytest.mark.parametrize("kind", EFFORTS)
def test_a_block_is_given_what_it_is_given_alone(kind: Kind, tmp_path: Path) -> None:
    together, alone = batch(tmp_path / "all", kind), batch(tmp_path / "one", kind, BLOCKS[:1])
    both = [made.run().made.hits[0].sha256 for made in (together, alone)]
    assert both[0] == both[1]


@pytest.mark.parametrize("kind", EFFORTS)
@pytest.mark.parametrize(("queries", "groups"), [(29, 1), (15, 2), (1, 5)])
def test_a_group_reads_each_part_once(
    kind: Kind, queries: int, groups: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch, queries)
    made = batch(tmp_path, kind)
    worker = made.worker()
    for _ in range(3):
        worker(made.unit, {})
    numbered = PARTS * (kind == "ivfpq")  # documents are numbered where a shard is opened
    assert made.reads("parts") == 3 * (groups * PARTS * 2 + numbered)
    assert made.reads("shards") == (3 if kind == "ivfpq" else 0)
    # The queries of an only group stay in memory.
    assert made.reads("queries") == (len(BLOCKS) if groups == 1 else 3 * len(BLOCKS))


@pytest.mark.parametrize("kind", EFFORTS)
def test_memory_is_that_of_a_group(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch, 500)
    few, many = (batch(tmp_path / str(n), kind, (250,) * n) for n in (2, 16))
    assert peak_bytes(many.run) < 1.2 * peak_bytes(few.run)


@pytest.mark.parametrize("kind", EFFORTS)
def test_a_device_of_torch_finds_the_same_bytes(kind: Kind, tmp_path: Path) -> None:
    """By the code that a GPU runs: torch's other name of the CPU asks for it."""
    made = batch(tmp_path, kind)
    assert made.worker("cpu:0")(made.unit, {}) == made.run()


def test_a_block_that_cannot_be_read_leaves_no_wrong_vectors_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch, 14)
    made = batch(tmp_path, "exact", (14, 14))
    whole, worker, last = made.run(), made.worker(), tmp_path / made.queries[1].key
    good = last.read_bytes()
    last.write_bytes(good[::-1])
    with pytest.raises(IntegrityError):
        worker(made.unit, {})
    last.write_bytes(good)
    assert worker(made.unit, {}) == whole


def test_less_memory_reads_the_vectors_more_often(tmp_path: Path) -> None:
    made = batch(tmp_path, "exact")
    whole, once = made.run(), made.reads("parts")
    assert once
    memory = 9 * query_bytes(K, 0, DIM)  # of 5, 9, 1, 7 and 7 queries: [5], [9], [1, 7] and [7]
    small = Search(made.workspace, made.workspace, SearchBatch(made.queries, DIM, memory, "cpu"))
    assert small(made.unit, {}) == whole
    assert made.reads("parts") - once == 4 * once


def test_keys_name_each_rows_document(tmp_path: Path) -> None:
    made = batch(tmp_path, "ivfpq")
    parts = made.unit.spec.shard.parts
    numbers = document_numbers(made.workspace, parts)
    rows = np.array([document(row) for row in range(ROWS)])
    assert numbers.tolist() == [n * (rows[-1] + 1) + row for n in range(PARTS) for row in rows]
    assert passages_a_document(parts) == 3  # 630 of 258
    flat = replace(parts[0], keys=replace(parts[0].keys, rows=ROWS))
    reads = made.reads("parts")
    assert document_numbers(made.workspace, [flat]).tolist() == list(range(ROWS))
    assert made.reads("parts") == reads  # as many documents as passages
    wrong = replace(parts[0], values=replace(parts[0].values, rows=ROWS + 1))
    with pytest.raises(IntegrityError, match="has 211 passages, its documents have 210"):
        document_numbers(made.workspace, [wrong])
