"""Comparing two runs: the test and the interval against by-hand values, and how alike lists are."""

from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.overlap import DEPTH, P, overlap
from shardrank.core.paired import DRAWS, EXACT, interval, paired, randomised


def test_all_signs_of_few_queries_are_tried() -> None:
    """Of the 8 signs of 1, 2 and 3 the sums 6 and -6 are as far as 6, and four as far as 4."""
    assert randomised(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert randomised(np.array([-1.0, 2.0, 3.0, 0.0])) == 4 / 8
    assert randomised(np.zeros(4)) == 1.0


def test_drawn_signs_say_nearly_what_all_say() -> None:
    differences = np.random.default_rng(1).normal(0.2, 0.5, EXACT + 2)
    signs = np.array(list(product((-1, 1), repeat=len(differences))))
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9).mean()
    assert randomised(differences) == pytest.approx(exact, abs=0.015)
    assert randomised(differences) == randomised(differences)
    assert randomised(np.full(5000, 0.25)) == 1 / (1 + DRAWS)


def test_the_interval_of_many_queries_is_that_of_the_normal_distribution() -> None:
    differences = np.random.default_rng(2).normal(0.1, 1.0, 2000)
    error = 1.96 * differences.std() / np.sqrt(2000)
    low, high = interval(differences)
    assert (low, high) == pytest.approx(
        (differences.mean() - error, differences.mean() + error), abs=0.004
    )
    assert interval(np.array([0.5])) == (0.5, 0.5)


def test_wins_ties_and_losses() -> None:
    found = paired("AP", np.array([0.1, 0.5, 0.3, 0.2]), np.array([0.3, 0.5, 0.3, 0.1]))
    assert (found.wins, found.ties, found.losses, found.queries) == (1, 2, 1, 4)
    assert found.difference == pytest.approx(0.025)
    assert found.low <= found.difference <= found.high


def ranking(lists: dict[str, str]) -> pa.Table:
    """A letter is a document, the first the best."""
    rows = [(q, doc, rank) for q, docs in lists.items() for rank, doc in enumerate(docs, 1)]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    types = {"query_id": pa.string(), "doc_id": pa.string(), "rank": pa.int32()}
    return pa.table(
        [pa.array(c, t) for c, t in zip(columns, types.values(), strict=True)], [*types]
    )


def biased(one: str, other: str) -> float:
    """Rank-biased overlap by its definition."""
    depth = min(len(one), len(other), DEPTH)
    agreed = [len(set(one[:d]) & set(other[:d])) / d for d in range(1, depth + 1)]
    tail = agreed[-1] * P**depth
    return (1 - P) / P * sum(a * P**d for d, a in enumerate(agreed, 1)) + tail


def test_overlap_by_hand() -> None:
    one = ranking({"x": "abcdefghijk", "only": "a", "y": "ab", "z": "abc"})
    other = ranking({"z": "xyz", "y": "ba", "x": "kbcdefghija", "none": "b"})
    found = overlap(one, other)
    assert found.queries.to_pylist() == ["x", "y", "z"]
    assert found.first.tolist() == [0.9, 1.0, 0.0]
    assert found.rbo.tolist() == pytest.approx([biased("abcdefghijk", "kbcdefghija"), 0.9, 0.0])
    assert len(overlap(one, ranking({"none": "b"})).queries) == 0


lists = st.lists(st.sampled_from("abcdefghijklmno"), min_size=1, unique=True).map("".join)


@given(lists, lists)
def test_overlap_is_that_of_its_definition(one: str, other: str) -> None:
    found = overlap(ranking({"q": one}), ranking({"q": other}))
    assert found.rbo[0] == pytest.approx(biased(one, other))
    longer = min(max(len(one), len(other)), 10)
    assert found.first[0] == len(set(one[:10]) & set(other[:10])) / longer
    assert overlap(ranking({"q": one}), ranking({"q": one})).rbo[0] == pytest.approx(1)
