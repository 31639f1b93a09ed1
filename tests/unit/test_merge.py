"""The hits of many shards become one ranking, in the memory of a few."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from shardrank.core import topk
from shardrank.core.schemas import HITS
from shardrank.core.topk import fold_and_cut, merge, ranks
from shardrank.core.units import Unit
from shardrank.forecast.merge_needs import sorted_hits
from shardrank.stages.rank.merge import ListFiles, Merge, MergeSpec
from shardrank.stages.run.workspace import Workspace
from shardrank.storage.local import LocalStorage
from tests.memory import peak_bytes

QUERIES, K = 50, 40


def shard_hits(number: int, documents: int = 1000) -> pa.Table:
    """K hits for all queries but the last; scores tie often."""
    rng = np.random.default_rng(number)
    drawn = [rng.choice(documents, K, replace=False) for _ in range(QUERIES - 1)]
    row = np.concatenate(drawn).astype(np.int32)
    columns = {
        "query": np.repeat(np.arange(QUERIES - 1, dtype=np.int32), K),
        "doc_id": [f"{n * 7919 % documents:04d}-{number}" for n in row],
        "passage": np.zeros(len(row), np.int32),
        "score": np.round(rng.normal(size=len(row)), 1).astype(np.float32),
        "part": np.full(len(row), number, np.int32),
        "row": row,
    }
    return fold_and_cut(pa.table(columns, schema=HITS), K)


def unit(
    workspace: Workspace, shards: int, own: str = "q0", ignored: bool = False
) -> Unit[MergeSpec]:
    refs = [workspace.write_table(f"{n}.parquet", shard_hits(n)) for n in range(shards)]
    names = [own, *(f"q{n}" for n in range(1, QUERIES))]
    asked = workspace.write_table("queries.parquet", pa.table({"query_id": names}))
    found = ListFiles(tuple(refs), K - ignored)
    return Unit("merge", MergeSpec((found,), asked, None, K - ignored, ignored, 2))


def test_shards_read_one_by_one_give_what_all_at_once_give(tmp_path: Path) -> None:
    workspace = Workspace(LocalStorage(str(tmp_path)))
    for shards in (1, 2, 3, 9, 30):
        done = Merge(workspace)(unit(workspace, shards), {})
        found = workspace.read_table(done.made.hits)
        assert found.equals(merge([shard_hits(n) for n in range(shards)], K))
        assert sum(each.pairs for each in done.made.pairs) == K * (QUERIES - 1)
        assert [file.bucket for file in done.made.buckets] == list(range((shards + 1) // 2))
        for file in done.made.buckets:
            pairs = workspace.read_table(file.pairs)
            mine = pc.equal(pc.divide(found["part"], 2), file.bucket)
            names = ["query", "part", "row"]
            assert pairs.select(names).equals(found.filter(mine).select(names))
            assert pairs["rank"].to_numpy().tolist() == ranks(found)[mine.to_numpy()].tolist()


@pytest.mark.parametrize("rank", [1, 7, K, None])
def test_a_document_with_the_querys_id_takes_no_place(tmp_path: Path, rank: int | None) -> None:
    """K documents were fetched, and one fewer is asked for; here the first query is a document."""
    workspace = Workspace(LocalStorage(str(tmp_path)))
    every = merge([shard_hits(n) for n in range(3)], K)
    own = every["doc_id"][rank - 1].as_py() if rank else "none"
    for ignored in (False, True):
        done = Merge(workspace)(unit(workspace, 3, own, ignored), {})
        rows = [row for row in every.to_pylist() if row["query"] == 0]
        found = workspace.read_table(done.made.hits).to_pylist()
        counts = Counter(row["query"] for row in found)
        assert set(counts.values()) == {K - ignored}
        mine = [row["doc_id"] for row in found if row["query"] == 0]
        left = [row["doc_id"] for row in rows if not (ignored and row["doc_id"] == own)]
        assert mine == left[: K - ignored]
        told = done.made.same_id
        assert (told.queries, told.first) == (int(rank is not None), int(rank == 1))
        assert len(told.places) == told.queries
        assert sum(each.pairs for each in done.made.pairs) == (K - ignored) * (QUERIES - 1)


def test_few_hits_are_sorted_as_the_forecast_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def counting(hits: pa.Table, k: int) -> pa.Table:
        counted.append(hits.num_rows)
        return fold_and_cut(hits, k)

    tables = [shard_hits(number) for number in range(100)]
    monkeypatch.setattr(topk, "fold_and_cut", counting)
    for shards in (2, 8, 30, 100):
        counted.clear()
        best = topk.Best(QUERIES, K)
        for table in tables[:shards]:
            best.add(table)
        kept = best.table().num_rows
        assert sum(counted) == pytest.approx(sorted_hits(kept, shards), rel=0.1)


def test_memory_does_not_grow_with_the_shards(tmp_path: Path) -> None:
    workspace = Workspace(LocalStorage(str(tmp_path)))
    few, many = (unit(workspace, shards) for shards in (4, 64))
    few_bytes, many_bytes = (peak_bytes(lambda u=u: Merge(workspace)(u, {})) for u in (few, many))
    assert many_bytes < 2 * few_bytes
