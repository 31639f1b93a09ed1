"""Every device keeps the same rows and pairs: compiled loops, torch's CPU, and a GPU if there is
one, by the very code that a GPU runs."""

from collections.abc import Callable
from functools import cache
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.selection import RowSelector
from shardrank.index import device_pairs
from shardrank.index.best_rows import CompiledSelector
from shardrank.index.blocks import PartBlock
from shardrank.index.device_pairs import DeviceCandidates
from shardrank.index.documents import DocumentSearch, Reach
from shardrank.index.exact import sweep_topk
from shardrank.index.list_major import ListSearch, Probes
from shardrank.index.lists import FaissLists
from shardrank.index.nearest import by_device, by_products
from shardrank.index.shard import LoadedShard
from shardrank.kernels.search_loops import by_value
from shardrank.models.forward import select_pairs, select_rows
from shardrank.models.forward.products import float_product
from shardrank.models.forward.select_pairs import TorchPairs
from shardrank.models.forward.select_rows import TorchSelector

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
ON_CPU = by_products(float_product)
Make = Callable[[], RowSelector]
MAKERS: dict[str, Make] = {
    "compiled": lambda: CompiledSelector(float_product),
    **{device: lambda device=device: TorchSelector(device) for device in DEVICES},  # type: ignore[misc]
}


@pytest.fixture(scope="module", params=MAKERS)
def selector(request: pytest.FixtureRequest) -> RowSelector:
    return MAKERS[request.param]()


@given(
    seed=st.integers(0, 2**31),
    queries=st.integers(1, 40),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    depth=st.integers(1, 90),
    dim=st.sampled_from([1, 7, 8, 24, 37]),
    high=st.sampled_from([1, 3, 127]),
)
@settings(max_examples=60, deadline=None)
def test_the_best_rows_are_those_of_a_plain_sort(
    selector: RowSelector,
    seed: int,
    queries: int,
    sizes: list[int],
    depth: int,
    dim: int,
    high: int,
) -> None:
    """Ties among few numbers, lists of any length, fewer rows than are wanted, some queries only,
    and more that is added after the first answer."""
    rng = np.random.default_rng(seed)
    asked = rng.integers(-high, high + 1, (queries, dim)).astype(np.int8)
    places, first = rng.permutation(sum(sizes)) * 3, 0
    wanted: list[list[tuple[int, int]]] = [[] for _ in asked]
    best = selector.begin(asked, depth)
    for size in sizes:
        rows = rng.integers(-high, high + 1, (size, dim)).astype(np.int8)
        where, first = places[first : first + size], first + size
        asking = np.flatnonzero(rng.random(queries) < 0.7).astype(np.int32)
        if len(asking):
            best.add(asking, rows, where)
        for query in asking:
            scores = rows.astype(int) @ asked[query].astype(int)
            wanted[query] += zip((-scores).tolist(), where.tolist(), strict=True)
        found = best.sorted()
        assert (found.shape, found.dtype) == ((queries, depth), np.dtype(np.int64))
        for row, pairs in zip(found, wanted, strict=True):
            kept = [place for _, place in sorted(pairs)][:depth]
            assert row.tolist() == kept + [-1] * (depth - len(kept))


@pytest.mark.parametrize("name", ["IVF8,PQ8x4np", "RR24,IVF8,PQ6x5np", "IVF8,SQ8"])
@pytest.mark.parametrize(("nprobe", "depth"), [(1, 10), (3, 1), (3, 100), (8, 2500)])
@pytest.mark.parametrize("device", DEVICES)
def test_a_search_finds_what_compiled_loops_find(
    name: str, nprobe: int, depth: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without deleted rows, and however many queries are multiplied at once."""
    built, queries, rng = _index(name), _vectors(90, 3), np.random.default_rng(4)
    lists = FaissLists(built)
    plain = ListSearch(lists, CompiledSelector(float_product))
    ours = ListSearch(lists, TorchSelector(device))
    for live in (None, rng.random(6000) < 0.6, rng.random(6000) < 0.01):
        wanted = plain.search(queries, nprobe, depth, live)
        assert np.array_equal(ours.search(queries, nprobe, depth, live), wanted)
    monkeypatch.setattr(select_rows, "_CELLS", 2_000)
    assert np.array_equal(ours.search(queries, nprobe, depth, live), wanted)


def test_documents_are_the_same_where_one_search_is_not_enough() -> None:
    """Queries that are looked for again, deeper and in further lists."""
    data = bytes(faiss.serialize_index(_index("IVF8,SQ8", step=1)))
    numbers = np.sort(np.random.default_rng(1).integers(0, 400, 2000)).astype(np.int32)
    numbers = np.unique(numbers, return_inverse=True)[1].astype(np.int32)
    live, queries = np.random.default_rng(2).random(2000) < 0.5, _vectors(50, 9)
    found = [
        DocumentSearch(LoadedShard.load(data, make()), numbers, live).find(
            queries, Reach(1, 60, 60)
        )
        for make in MAKERS.values()
    ]
    for other in found[1:]:
        assert np.array_equal(other.positions, found[0].positions)
        assert np.array_equal(other.ends, found[0].ends)


@given(st.integers(0, 2**31), st.integers(0, 30), st.integers(1, 5), st.integers(1, 70_000))
@settings(max_examples=60, deadline=None)
def test_probes_are_put_in_order_as_by_counting(
    seed: int, queries: int, nprobe: int, nlist: int
) -> None:
    lists = np.random.default_rng(seed).integers(0, nlist, (queries, nprobe))
    order, ends = by_value(lists.ravel(), nlist)
    probes = Probes.by_list(lists, nlist)
    assert np.array_equal(probes.queries, order // nprobe)
    assert np.array_equal(probes.ends, ends)


@given(
    seed=st.integers(0, 2**31),
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=3),
    count=st.integers(1, 6),
    k=st.integers(1, 9),
    coarse=st.booleans(),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("device", DEVICES)
def test_exact_search_finds_the_same_documents_with_the_same_bits(
    device: str, seed: int, sizes: list[int], count: int, k: int, coarse: bool
) -> None:
    """Documents of several passages, ties, rows that are not live and not finite, short parts."""
    rng = np.random.default_rng(seed)
    parts = [_part(rng, ordinal, size, coarse) for ordinal, size in enumerate(sizes)]
    queries = np.round(rng.normal(size=(count, 9)), 1).astype(np.float32)
    find = by_device(DeviceCandidates(TorchPairs(device)))
    found = sweep_topk(queries, iter(parts), k, find)
    assert found.equals(sweep_topk(queries, iter(parts), k, ON_CPU))
    assert sweep_topk(queries[::-1].copy(), iter(parts), k, find).num_rows == found.num_rows


@pytest.mark.parametrize("device", DEVICES)
def test_blocks_of_queries_change_nothing(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    parts = [_part(rng, ordinal, 800, coarse=False) for ordinal in range(3)]
    queries = rng.normal(size=(40, 9)).astype(np.float32)
    wanted = sweep_topk(queries, iter(parts), 10, ON_CPU)
    monkeypatch.setattr(select_pairs, "_CELLS", 3 * parts[0].rows)
    find = by_device(DeviceCandidates(TorchPairs(device)))
    assert sweep_topk(queries, iter(parts), 10, find).equals(wanted)


@pytest.mark.parametrize("device", DEVICES)
def test_a_margin_saves_what_products_round_away(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores that are nearly equal; and without the margin some are lost."""
    rng = np.random.default_rng(2)
    base = rng.normal(size=256)
    vectors = (base + rng.normal(size=(3000, 256)) * 1e-7).astype(np.float32)
    ids, live = pa.array([f"{i:04}" for i in range(3000)]), np.ones(3000, bool)
    parts = [PartBlock(0, ids, np.zeros(3000, np.int32), vectors, live)]
    queries = (base + rng.normal(size=(20, 256))).astype(np.float32)
    find = by_device(DeviceCandidates(TorchPairs(device)))
    wanted = sweep_topk(queries, parts, 5, ON_CPU)
    assert sweep_topk(queries, parts, 5, find).equals(wanted)
    monkeypatch.setattr(device_pairs, "margin", lambda queries, part: np.zeros(20, np.float32))
    assert not sweep_topk(queries, parts, 5, find).equals(wanted)


def test_tf32_is_never_used_and_the_process_is_left_as_it_was() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        select_pairs._products(torch.ones(2, 3), torch.ones(1, 3))
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def _vectors(rows: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, 24))
    found = centres[rng.integers(0, 20, rows)] + rng.normal(size=(rows, 24)) * 0.6
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@cache
def _index(name: str, step: int = 3) -> Any:
    """Trained once for all tests, as in tests/unit/test_lists.py."""
    faiss.omp_set_num_threads(1)
    made = faiss.index_factory(24, name, faiss.METRIC_INNER_PRODUCT)
    faiss.extract_index_ivf(made).by_residual = False
    made.train(_vectors(3000, 1))
    made.add_with_ids(_vectors(2000, 2), np.arange(2000) * step)
    return made


def _part(rng: np.random.Generator, ordinal: int, documents: int, coarse: bool) -> PartBlock:
    counts = rng.integers(1, 4, documents)
    ids = [f"{ordinal}-{i}" for i, n in enumerate(counts) for _ in range(n)]
    passages = np.concatenate([[], *(np.arange(n) for n in counts)]).astype(np.int32)
    shape = (len(ids), 9)
    vectors = rng.integers(-1, 2, shape) if coarse else rng.normal(size=shape)
    live = rng.random(len(ids)) > 0.2
    vectors = np.where(live[:, None], vectors, np.nan).astype(np.float32)
    vectors.flags.writeable = False  # as Arrow's are
    return PartBlock(ordinal, pa.array(ids, pa.string()), passages, vectors, live)
