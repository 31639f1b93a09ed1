"""Late interaction by centroids: what is built, what is found, and in which order."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.errors import IntegrityError
from shardrank.core.token_vectors import TokenVectors
from shardrank.index import plaid
from shardrank.index.documents import DocumentSearch, Reach
from shardrank.index.plaid import CentroidLists, PlaidShard, build_plaid


def product(left: Any, right: Any) -> Any:
    return left.astype(np.int32) @ right.astype(np.int32).T


def tokens(seed: int, texts: int, most: int, dim: int) -> TokenVectors:
    """Texts of 0 to `most` tokens, of few different components, so that many products tie."""
    random = np.random.default_rng(seed)
    ends = np.concatenate([[0], np.cumsum(random.integers(0, most + 1, texts))])
    return TokenVectors(ends, random.integers(-2, 3, (ends[-1], dim)).astype(np.float32))


def drawn(seed: int, passages: int, centroids: int) -> tuple[Any, Any]:
    """Where the tokens of passages begin, and their centroids."""
    random = np.random.default_rng(seed)
    ends = np.concatenate([[0], np.cumsum(random.integers(0, 9, passages))])
    return ends, random.integers(0, centroids, ends[-1])


def shard_of(ends: Any, numbers: Any, centroids: Any) -> PlaidShard:
    block = (np.arange(len(ends) - 1), ends, numbers)
    data = build_plaid([block], len(ends) - 1, len(centroids))
    return PlaidShard(CentroidLists.load(data), centroids, product)


def plainly(
    shard: PlaidShard,
    queries: TokenVectors,
    ends: Any,
    numbers: Any,
    centroids: Any,
    nprobe: int,
    live: Any,
) -> list[list[int]]:
    """Every candidate of each query, in order, by going through all passages."""

    def small(vectors: Any) -> Any:
        return np.rint(vectors * (127 / (np.abs(vectors).max() or 1))).astype(np.int64)

    found = []
    for query in range(queries.rows):
        own = queries.text(query)
        if not len(own):
            found.append([])
            continue
        products = (small(own) @ small(centroids).T) >> shard._shift(small(own).astype(np.int8))
        order = np.argsort(-products, axis=1, kind="stable")[:, :nprobe]
        scores = {}
        for passage in np.flatnonzero(live):
            mine = numbers[ends[passage] : ends[passage + 1]]
            if np.isin(mine, order).any():
                scores[int(passage)] = int(products[:, mine].max(axis=1).sum())
        found.append(sorted(scores, key=lambda p: (-scores[p], p)))
    return found


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12), st.integers(1, 14))
@settings(max_examples=25, deadline=None)
def test_candidates_are_those_of_the_nearest_centroids(
    seed: int, passages: int, centroids: int, nprobe: int
) -> None:
    """Of few different numbers, so that many products tie."""
    random = np.random.default_rng(seed)
    ends, numbers = drawn(seed, passages, centroids)
    places = random.integers(-2, 3, (centroids, 2)).astype(np.float32)
    queries, live = tokens(seed + 1, 5, 40, 2), random.random(passages) < 0.7
    shard = shard_of(ends, numbers, places)
    expected = plainly(shard, queries, ends, numbers, places, nprobe, live)
    for depth in (1, 3, passages):
        found = shard.search(queries, nprobe, depth, live)
        for row, wanted in zip(found.tolist(), expected, strict=True):
            assert row == (wanted + [-1] * depth)[:depth]
    steps = [*range(1, min(nprobe, centroids) + 1)]
    for step, found in zip(steps, shard.widening(queries, steps, 7, live), strict=True):
        assert np.array_equal(found, shard.search(queries, step, 7, live))


def test_a_batch_and_its_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ends, numbers = drawn(0, 60, 16)
    random = np.random.default_rng(0)
    places = random.standard_normal((16, 24)).astype(np.float32)
    queries = TokenVectors(
        np.array([0, 3, 3, 40, 41]), random.standard_normal((41, 24)).astype(np.float32)
    )
    shard = shard_of(ends, numbers, places)
    whole = shard.search(queries, 2, 20)
    assert (whole[1] == -1).all()  # a query without tokens
    for query in range(4):
        alone = shard.search(queries.of_rows(query, query + 1), 2, 20)
        assert np.array_equal(alone, whole[query : query + 1])
    monkeypatch.setattr(plaid, "_PRODUCTS", 16 * 5)
    assert np.array_equal(shard.search(queries, 2, 20), whole)


def test_products_are_cut_to_16_bits() -> None:
    """Long vectors of many components: sums beyond 16 bits keep their order, but for last bits."""
    places = np.zeros((3, 2000), np.float32)
    places[0], places[1], places[2] = 1, 0.9, -1
    shard = shard_of(np.arange(4), np.arange(3), places)
    query = TokenVectors(np.array([0, 2]), np.ones((2, 2000), np.float32))
    assert shard.search(query, 3, 3).tolist() == [[0, 1, 2]]


def test_the_file_is_that_of_its_passages() -> None:
    """However they come; each centroid once a passage."""
    ends, numbers = np.array([0, 3, 3, 6]), np.array([1, 0, 1, 2, 2, 1])
    whole = build_plaid([(np.array([0, 2, 3]), ends, numbers)], 5, 4)
    halves = [
        (np.array([0, 2]), ends[:3], numbers[:3]),
        (np.array([3]), ends[2:] - 3, numbers[3:]),
    ]
    assert build_plaid(halves, 5, 4) == whole
    lists = CentroidLists.load(whole)
    assert (lists.rows, lists.count) == (5, 4)
    assert lists.passage_ends.tolist() == [0, 2, 2, 2, 4, 4]
    assert lists.centroids.tolist() == [1, 0, 2, 1]
    assert lists.centroid_ends.tolist() == [0, 1, 3, 4, 4]
    assert lists.passages.tolist() == [0, 0, 3, 3]


def test_documents_are_counted() -> None:
    """Few centroids hold too few documents: more are probed, until there are enough."""
    ends, numbers = drawn(3, 90, 30)
    random = np.random.default_rng(0)
    shard = shard_of(ends, numbers, random.standard_normal((30, 8)).astype(np.float32))
    queries = TokenVectors(np.array([0, 1, 3]), random.standard_normal((3, 8)).astype(np.float32))
    documents = np.repeat(np.arange(30, dtype=np.int32), 3)
    found = DocumentSearch(shard, documents, None).find(queries, Reach(1, 25, 25))
    for query in range(2):
        assert len(np.unique(documents[found.of(query, query + 1).positions])) == 25


def test_a_shard_of_nothing() -> None:
    shard = shard_of(np.zeros(1, np.int64), np.empty(0, np.int64), np.ones((2, 4), np.float32))
    assert shard.search(TokenVectors(np.array([0, 1]), np.ones((1, 4), np.float32)), 2, 3).tolist()


def test_what_is_damaged_is_refused() -> None:
    ends, numbers = drawn(0, 10, 4)
    data = build_plaid([(np.arange(10), ends, numbers)], 10, 4)
    with pytest.raises(IntegrityError, match="no safetensors file"):
        CentroidLists.load(data[:50])
    with pytest.raises(IntegrityError, match="not of its passages and centroids"):
        CentroidLists.load(data[:-4] + b"\xff\xff\xff\x00")
    with pytest.raises(IntegrityError, match="4 centroids, and the codec has 5"):
        PlaidShard(CentroidLists.load(data), np.ones((5, 3), np.float32), product)
