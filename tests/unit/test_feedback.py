"""Feedback against plain loops over dictionaries."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.feedback import towards, with_terms
from tests.unit.test_sparse import Row, rows_of, vectors_of

_rows = st.dictionaries(st.integers(0, 9), st.integers(1, 9), max_size=5)
_worlds = st.lists(st.tuples(_rows, st.lists(_rows, max_size=4)), min_size=1, max_size=4)
_weight = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def expected(query: Row, documents: list[Row], alpha: float, beta: float) -> dict[int, float]:
    mean: dict[int, float] = defaultdict(float)
    for document in documents:
        for term, weight in document.items():
            mean[term] += weight / sum(document.values()) / len(documents)
    new = {term: alpha * weight for term, weight in query.items()}
    for term, share in mean.items():
        new[term] = new.get(term, 0) + beta * sum(query.values()) * share
    return new


@given(_worlds, _weight, _weight)
def test_terms_are_those_of_dictionaries(
    world: list[tuple[Row, list[Row]]], alpha: float, beta: float
) -> None:
    """All terms are taken: which of equal ones go is for the next test."""
    queries = [query for query, _ in world]
    owners = [n for n, (_, documents) in enumerate(world) for _ in documents]
    documents = rows_of([document for _, found in world for document in found])
    found = with_terms(
        rows_of(queries), np.array(owners, np.int32), documents, alpha, beta, terms=99
    )
    for row, (query, near) in zip(vectors_of(found), world, strict=True):
        assert row == pytest.approx(expected(query, near, alpha, beta), rel=1e-5)


def test_the_strongest_terms_are_added_and_of_equal_ones_the_lowest() -> None:
    documents = rows_of([{1: 2, 5: 3, 7: 2, 9: 1}])
    found = with_terms(rows_of([{9: 4}]), np.array([0], np.int32), documents, 0.5, 0.5, terms=2)
    assert vectors_of(found) == [pytest.approx({1: 0.5, 5: 0.75, 9: 2})]


def test_a_query_without_documents_or_weight_stays() -> None:
    queries = rows_of([{1: 3}, {}, {2: 1, 3: 4}])
    none = with_terms(queries, np.empty(0, np.int32), rows_of([]), 1.0, 0.5, terms=3)
    assert vectors_of(none) == [{1: 3}, {}, {2: 1, 3: 4}]


def test_vectors_move_towards_the_mean() -> None:
    queries = np.array([[1, 0], [0, 1], [2, 2]], np.float32)
    found = np.array([[0, 4], [2, 0], [1, 1]], np.float32)
    moved = towards(queries, np.array([0, 0, 2], np.int32), found, alpha=0.5, beta=1)
    assert moved.tolist() == [[1.5, 2], [0, 0.5], [2, 2]]
    assert moved.dtype == np.float32
