"""List-major search against plain loops over the same lists, and against faiss's own search."""

from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.arrays import Int8, Int32
from shardrank.core.protocols import Int8Product
from shardrank.index import best_rows, list_major
from shardrank.index.best_rows import CompiledSelector
from shardrank.index.list_major import ListSearch
from shardrank.index.lists import FaissLists
from shardrank.kernels.search_loops import best_first, by_value, collect, cut, decode
from shardrank.models.forward.products import int8_product

DIM, NLIST = 24, 8


def plain_product(left: Int8, right: Int8) -> Int32:
    product: Int32 = left.astype(np.int32) @ right.astype(np.int32).T
    return product


def vectors(rows: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, DIM))
    found = centres[rng.integers(0, 20, rows)] + rng.normal(size=(rows, DIM)) * 0.6
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def index(name: str, rows: int) -> Any:
    """A faiss index of the kind that `train_codec` makes; positions have gaps."""
    made = faiss.index_factory(DIM, name, faiss.METRIC_INNER_PRODUCT)
    ivf = faiss.extract_index_ivf(made)
    ivf.by_residual = False
    made.train(vectors(3000, 1))
    made.add_with_ids(vectors(rows, 2), np.arange(rows) * 3)
    return made


def searched(built: Any, product: Int8Product = int8_product) -> ListSearch:
    return ListSearch(FaissLists(built), CompiledSelector(product))


#: np: no polysemous training, which `train_codec` does not do either and which takes seconds.
KINDS = ("IVF8,PQ8x4np", "IVF8,PQ6x8np", "IVF8,PQ4x6np", "RR24,IVF8,PQ6x5np", "IVF8,SQ8")


@pytest.fixture(scope="module", params=KINDS)
def built(request: pytest.FixtureRequest) -> Any:
    faiss.omp_set_num_threads(1)
    return index(request.param, 2000)


@given(st.integers(0, 10**6), st.integers(4, 8), st.integers(1, 9), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_codes_are_read_as_faiss_writes_them(seed: int, bits: int, books: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    tables = rng.integers(-127, 128, (books, 1 << bits, width)).astype(np.int8)
    pq = faiss.ProductQuantizer(books * width, books, bits)
    faiss.copy_array_to_vector(tables.astype(np.float32).ravel(), pq.centroids)
    numbers = rng.integers(0, 1 << bits, (20, books)).astype(np.int32)
    codes = faiss.pack_bitstrings(numbers, bits)
    out = np.empty((20, books * width), np.int8)
    decode(codes, tables, bits, out)
    assert np.array_equal(out, pq.decode(codes).astype(np.int8))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60, unique=True), st.data())
@settings(max_examples=200, deadline=None)
def test_a_cut_brings_the_largest_to_the_front(values: list[int], data: Any) -> None:
    depth, filled = data.draw(st.integers(1, len(values))), len(values)
    hits = np.array([*values, 99], np.int64)  # 99 lies behind what is filled
    least = cut(hits, filled, depth)
    best = sorted(values, reverse=True)[:depth]
    assert sorted(hits[:depth], reverse=True) == best
    assert least == best[-1]
    assert sorted(hits) == sorted([*values, 99])


@given(st.integers(0, 10**6), st.integers(1, 150), st.integers(1, 40), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_nothing_that_belongs_to_the_best_is_lost(seed: int, n: int, depth: int, high: int) -> None:
    """Whatever the order in which lists come, and in whichever of them lower positions are."""
    rng = np.random.default_rng(seed)
    lists = [rng.integers(-high, high, (2, size)).astype(np.int32) for size in (n, 1, n // 2 + 1)]
    every = np.concatenate(lists, axis=1)
    places = rng.permutation(every.shape[1])
    hits, out = np.empty((2, depth + 32), np.int64), np.full((2, depth), -1, np.int64)
    counts, floors = np.zeros(2, np.int32), np.full(2, -(2**63), np.int64)
    first = 0
    for products in lists:
        where = places[first : first + products.shape[1]]
        collect(products, np.arange(2, dtype=np.int32), where, hits, counts, floors, depth)
        first += products.shape[1]
    best_first(hits, counts, out)
    for query in range(2):
        wanted = places[np.lexsort((places, -every[query]))][:depth]
        assert out[query, : len(wanted)].tolist() == wanted.tolist()
        assert (out[query, len(wanted) :] == -1).all()


@pytest.mark.parametrize("nprobe", [1, 3, 8])
@pytest.mark.parametrize("depth", [1, 10, 300, 3000])
@pytest.mark.parametrize("deleted", [False, True])
def test_equals_plain_loops(built: Any, nprobe: int, depth: int, deleted: bool) -> None:
    queries = vectors(30, 3)
    live = np.random.default_rng(4).random(6000) < 0.7 if deleted else None
    found = searched(built).search(queries, nprobe, depth, live)
    assert np.array_equal(found, plain_search(built, queries, nprobe, depth, live))


def plain_search(built: Any, queries: Any, nprobe: int, depth: int, live: Any) -> Any:
    """One query at a time, one list at a time, no buffers and no floors."""
    lists = FaissLists(built)
    rotated = lists.rotated(queries)
    probed = plain_nearest(built, rotated, nprobe)
    out = np.full((len(queries), depth), -1, np.int64)
    for number, query in enumerate(rotated):
        scaled = lists.scaled(query[None])
        small = np.rint(scaled * (127 / np.abs(scaled).max())).astype(np.int8)
        scores, places = [], []
        for each in sorted(probed[number]):
            where, codes = lists._stored(int(each))
            kept = np.ones(len(where), np.bool_) if live is None else live[where]
            scores.append(plain_product(small, lists._decoder.rows(codes[kept]))[0])
            places.append(where[kept])
        score, place = np.concatenate(scores), np.concatenate(places)
        best = np.lexsort((place, -score))[:depth]
        out[number, : len(best)] = place[best]
    return out


def plain_nearest(built: Any, rotated: Any, nprobe: int) -> Any:
    """The lists of each query, by products of numbers rounded to 8 bits; the first of equals."""
    centroids = faiss.extract_index_ivf(built).quantizer.reconstruct_n(0, NLIST)
    small = np.rint(rotated * (127 / np.abs(rotated).max(axis=1, keepdims=True)))
    products = small @ np.rint(centroids * (127 / np.abs(centroids).max())).T
    return np.argsort(-products, axis=1, kind="stable")[:, :nprobe]


def test_probes_the_lists_that_faiss_does(built: Any) -> None:
    """All but a few, whose centroids are as near to 8 bits."""
    rotated = FaissLists(built).rotated(vectors(500, 7))
    _, theirs = faiss.extract_index_ivf(built).quantizer.search(rotated, 3)
    assert recall(theirs, plain_nearest(built, rotated, 3)) > 0.98


def test_blocks_of_queries_change_nothing(built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = vectors(50, 5)
    whole = searched(built).search(queries, 4, 20, None)
    monkeypatch.setattr(list_major, "_BUFFER_BYTES", 7 * 8 * (2 * 20 + 64))
    assert np.array_equal(searched(built).search(queries, 4, 20, None), whole)


def test_products_are_small_however_many_queries_probe_a_list(
    built: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def product(left: Int8, right: Int8) -> Int32:
        sizes.append(len(left) * len(right) * 4)
        return int8_product(left, right)

    queries = vectors(50, 5)
    whole = searched(built, product).search(queries, 4, 20, None)
    assert max(sizes) > 16_384
    sizes.clear()
    monkeypatch.setattr(best_rows, "_PRODUCT_BYTES", 16_384)
    assert np.array_equal(searched(built, product).search(queries, 4, 20, None), whole)
    assert max(sizes) <= 16_384


@given(st.lists(st.integers(-1, 9)))
@settings(deadline=None)
def test_numbers_are_put_in_order_by_counting(values: list[int]) -> None:
    order, ends = by_value(np.array(values, np.int64), 10)
    assert order.tolist() == sorted(range(len(values)), key=lambda i: values[i])
    assert ends.tolist() == [sum(value < least for value in values) for least in range(11)]


def test_finds_what_faiss_finds(built: Any) -> None:
    """Eight bits lose little beside what the codes lost; so both find as many of the nearest."""
    queries, stored = vectors(200, 6), vectors(2000, 2)
    nearest = np.argsort(-(queries @ stored.T), axis=1)[:, :20] * 3
    faiss.extract_index_ivf(built).nprobe = 4
    _, theirs = built.search(queries, 20)
    ours = searched(built).search(queries, 4, 20, None)
    assert recall(nearest, ours) > recall(nearest, theirs) - 0.01
    assert recall(theirs, ours) > 0.9


def recall(wanted: Any, found: Any) -> float:
    return float(np.mean([np.isin(w, f).mean() for w, f in zip(wanted, found, strict=True)]))


def test_a_query_of_zeros_is_answered(built: Any) -> None:
    found = searched(built).search(np.zeros((1, DIM), np.float32), 8, 5, None)
    assert (found >= 0).all()
