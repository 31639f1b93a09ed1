"""An inverted index against dictionaries."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.sparse import SparseRows
from shardrank.index import term_search
from shardrank.index.bm25 import Bm25, add_counts, count_terms, idf
from shardrank.index.inverted import InvertedShard, build_inverted

RULE = Bm25(k1=1.2, b=0.75, average=6.0)
#: Terms far apart, and the largest there is.
TERMS = np.append(np.arange(1, 12, dtype=np.uint64) * np.uint64(0x123456789ABCDEF), 2**64 - 1)


def sparse(vectors: Any) -> SparseRows:
    """Of dictionaries from a term to its weight."""
    pairs = [pair for vector in vectors for pair in sorted(vector.items())]
    ends = np.cumsum([0, *map(len, vectors)], dtype=np.int64)
    terms = np.array([term for term, _ in pairs], np.uint64)
    return SparseRows(ends, terms, np.array([weight for _, weight in pairs], np.float32))


def drawn(rng: np.random.Generator, count: int, kind: str) -> list[dict[int, float]]:
    """Sparse vectors, some empty; counts tie often."""
    found = []
    for _ in range(count):
        terms = rng.choice(TERMS, rng.integers(0, 7), replace=False)
        many = len(terms)
        weights = {
            "counts": rng.integers(1, 4, many),
            "halves": rng.random(many).astype(np.float16),
            "floats": rng.random(many),
        }[kind]
        found.append({int(t): float(np.float32(w)) for t, w in zip(terms, weights, strict=True)})
    return found


def documents_of(rng: np.random.Generator, rows: int) -> Any:
    """int32[rows]: documents of one to several passages, numbered in no order."""
    own = np.cumsum(rng.random(rows) < 0.6, dtype=np.int64)
    return np.unique(rng.permutation(rows + 1)[own], return_inverse=True)[1].astype(np.int32)


def weight_of(vector: dict[int, float], term: int, rule: Bm25 | None, length: Any) -> Any:
    weight = np.float32(vector[term])
    return weight if rule is None else weight / (weight + rule.norms(np.array([length]))[0])


def oracle(queries: Any, vectors: Any, documents: Any, live: Any, k: int, rule: Any) -> Any:
    """(query, position, score) of what is found, pair by pair."""
    result = []
    for number, query in enumerate(queries):
        best: dict[int, Any] = {}
        for row in np.flatnonzero(live):
            vector, score = vectors[row], np.float32(0)
            length = np.float32(sum(vector.values()))
            both = [term for term in sorted(query) if term in vector]
            for term in both:
                score += np.float32(query[term]) * weight_of(vector, term, rule, length)
            if both:
                hit = (-score, row)
                best[documents[row]] = min(hit, best.get(documents[row], hit))
        ranked = sorted(best.values())
        last = ranked[min(k, len(ranked)) - 1][0] if ranked else 0
        result += [(number, row, -score) for score, row in ranked if score <= last]
    return result


def shard_of(vectors: Any, live: Any, blocks: int = 2) -> InvertedShard:
    rows = sparse(vectors)
    pieces = np.array_split(np.flatnonzero(live), blocks)
    data = build_inverted(((piece, rows.taken(piece)) for piece in pieces), len(vectors))
    return InvertedShard.load(data)


def found(result: Any) -> Any:
    columns = (result.query, result.position, result.score)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@settings(max_examples=150)
@given(
    st.integers(0, 2**31),
    st.integers(0, 150),
    st.integers(0, 5),
    st.integers(1, 8),
    st.sampled_from(["counts", "halves", "floats"]),
    st.sampled_from([None, RULE]),
    st.sampled_from([64, 192, 4096]),
    st.sampled_from([0, 1, 64]),
)
def test_a_search_finds_what_dictionaries_find(
    seed: int, rows: int, count: int, k: int, kind: str, rule: Any, size: int, laid: int
) -> None:
    """Bit for bit: also where queries, blocks and the ways to add up are others."""
    rng = np.random.default_rng(seed)
    vectors, queries = drawn(rng, rows, kind), drawn(rng, count, "floats")
    documents, live = documents_of(rng, rows), rng.random(rows) < 0.8
    given_live = live if rng.random() < 0.7 else None
    built = rng.random(rows) < 0.9
    shard = shard_of(vectors, built)
    seen = built if given_live is None else built & live
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(term_search, "BLOCK", size)
        patch.setattr(term_search, "FIRST", 64)
        patch.setattr(term_search, "ROWS", laid)
        result = shard.search(sparse(queries), documents, given_live, k, rule)
    assert (result.query.dtype, result.score.dtype) == (np.int32, np.float32)
    assert found(result) == oracle(queries, vectors, documents, seen, k, rule)


@pytest.mark.parametrize("rule", [None, RULE])
def test_many_queries_in_many_blocks(rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone, in a block of all positions, and all at once give the same bits."""
    rng = np.random.default_rng(3)
    vectors, queries = drawn(rng, 3000, "floats"), drawn(rng, 40, "floats")
    documents = documents_of(rng, 3000)
    shard = shard_of(vectors, np.ones(3000, bool), blocks=5)
    alone = [
        (number, *hit[1:])
        for number, query in enumerate(queries)
        for hit in found(shard.search(sparse([query]), documents, None, 20, rule))
    ]
    monkeypatch.setattr(term_search, "BLOCK", 320)
    assert found(shard.search(sparse(queries), documents, None, 20, rule)) == alone


def test_more_ties_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked for again, the queries in groups; what one passage has more comes first."""
    monkeypatch.setattr(term_search, "_TIED_BYTES", 1 << 14)
    vectors = [{1: 1.0, 2: 1.0 + (row == 700)} for row in range(1000)]
    shard = shard_of(vectors, np.ones(1000, bool))
    documents = np.arange(1000, dtype=np.int32)
    queries = sparse([{1: 1.0}, {5: 1.0}, {2: 1.0}, {1: 0.0}])
    result = shard.search(queries, documents, None, 3, None)
    assert np.bincount(result.query).tolist() == [1000, 0, 1000, 1000]
    assert result.position[:1000].tolist() == [*range(1000)]
    assert result.position[1000:2000].tolist() == [700, *range(700), *range(701, 1000)]


def test_a_document_longer_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term_search, "BLOCK", 64)
    vectors = [{1: float(1 + (row == 90))} for row in range(130)]
    documents = (np.arange(130) >= 120).astype(np.int32)
    shard = shard_of(vectors, np.ones(130, bool))
    result = shard.search(sparse([{1: 1.0}]), documents, None, 1, None)
    assert found(result) == [(0, 90, 2.0)]
    assert found(shard.search(sparse([{1: 1.0}]), documents, None, 2, None))[1] == (0, 120, 1.0)


@pytest.mark.parametrize(
    ("weights", "kind"),
    [([0, 65535], "uint16"), ([0.5, 2], "float16"), ([0.1], "float32"), ([65536], "float32")],
)
def test_the_bytes(weights: Any, kind: str) -> None:
    rows = sparse([{9: weights[0]}, {2**64 - 1: weights[-1], 9: weights[0]}])
    blocks = [
        (np.array([1]), rows.taken(np.array([0]))),
        (np.array([3]), rows.taken(np.array([1]))),
    ]
    data = build_inverted(blocks, 5)
    assert data == build_inverted([(np.array([1, 3]), rows)], 5)
    tensors = load(data)
    assert (tensors["terms"].tolist(), tensors["ends"].tolist()) == ([9, 2**64 - 1], [0, 2, 3])
    assert tensors["positions"].tolist() == [1, 3, 3]
    assert tensors["weights"].dtype == kind
    first, last = np.float32(weights[0]), np.float32(weights[-1])
    assert tensors["weights"].astype(np.float32).tolist() == [first, first, last]
    total = np.float32(np.float64(first) + np.float64(last))
    assert tensors["lengths"].tolist() == [0, first, 0, total, 0]
    shard = InvertedShard.load(data)
    assert (shard.rows, shard.terms.tolist()) == (5, [9, 2**64 - 1])


def test_a_shard_of_nothing() -> None:
    for rows in (0, 3):
        shard = InvertedShard.load(build_inverted([], rows))
        documents = np.arange(rows, dtype=np.int32)
        for rule in (None, Bm25(1.2, 0.75, 0.0)):
            assert not found(shard.search(sparse([{1: 1.0}, {}]), documents, None, 3, rule))


@pytest.mark.parametrize("weight", [-1.0, np.inf, np.nan])
def test_weights_that_are_refused(weight: float) -> None:
    with pytest.raises(InputError, match="positions 4 to 4 have weights that are negative"):
        build_inverted([(np.array([4]), sparse([{1: weight}]))], 5)
    shard = shard_of([{1: 1.0}], np.ones(1, bool))
    with pytest.raises(InputError, match="Queries have weights"):
        shard.search(sparse([{1: weight}]), np.zeros(1, np.int32), None, 3, None)


def test_documents_of_another_shard_are_refused() -> None:
    shard = shard_of([{1: 1.0}] * 3, np.ones(3, bool))
    documents, live = np.arange(4, dtype=np.int32), np.ones(2, bool)
    for both in ((documents, None), (documents[:3], live)):
        with pytest.raises(IntegrityError, match="of 3 positions"):
            shard.search(sparse([{1: 1.0}]), *both, 1, None)


def test_bytes_that_are_refused() -> None:
    data = build_inverted([(np.array([0, 2]), sparse([{1: 1.0, 2: 3.0}, {2: 1.0}]))], 3)
    with pytest.raises(IntegrityError, match="no safetensors"):
        InvertedShard.load(data[:-1])
    for change, message in [
        ({"more": np.zeros(1)}, "holds"),
        ({"weights": np.ones(3, np.int32)}, "weights of 1 dimensions, int32"),
        ({"ends": np.zeros((1, 3), np.int64)}, "ends of 2 dimensions"),
        ({"terms": np.zeros(1, np.uint64)}, "other sizes"),
        ({"weights": np.ones(2, np.uint16)}, "other sizes"),
        ({"ends": np.array([0, 4, 3])}, "do not follow"),
        ({"ends": np.array([1, 1, 3])}, "do not follow"),
        ({"terms": np.array([2, 2], np.uint64)}, "do not ascend"),
        ({"positions": np.array([0, 2, 2], np.int32)}, "do not ascend"),
        ({"positions": np.array([0, 0, 3], np.int32)}, "do not ascend"),
        ({"positions": np.array([-1, 0, 2], np.int32)}, "do not ascend"),
        ({"weights": np.array([1, 1, np.nan], np.float32)}, "negative or not finite"),
    ]:
        with pytest.raises(IntegrityError, match=message):
            InvertedShard.load(save({**load(data), **change}))
    tensors = load(data)
    del tensors["lengths"]
    with pytest.raises(IntegrityError, match="holds"):
        InvertedShard.load(save(tensors))


@given(st.integers(0, 2**31))
def test_counts_of_pieces_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = drawn(rng, 20, "counts")
    cuts = np.sort(rng.integers(0, 21, 2))
    pieces = [vectors[: cuts[0]], vectors[cuts[0] : cuts[1]], vectors[cuts[1] :]]
    terms, counts = add_counts([count_terms(sparse(piece)) for piece in pieces])
    whole = count_terms(sparse(vectors))
    assert (terms.tolist(), counts.tolist()) == (whole[0].tolist(), whole[1].tolist())
    assert counts.sum() == sum(map(len, vectors))
    assert (terms.dtype, counts.dtype) == (np.uint64, np.int64)


def test_counts_of_nothing() -> None:
    assert [column.tolist() for column in add_counts([])] == [[], []]


def test_the_formula() -> None:
    """Of a term of 3 passages in 10, twice in one of twice the average length."""
    assert idf(10, np.array([3]))[0] == pytest.approx(np.log(1 + 7.5 / 3.5), rel=1e-7)
    norm = Bm25(k1=1.5, b=0.75, average=4.0).norms(np.array([8], np.float32))[0]
    assert 2 / (2 + norm) == pytest.approx(2 / (2 + 1.5 * (0.25 + 0.75 * 2)), rel=1e-7)
