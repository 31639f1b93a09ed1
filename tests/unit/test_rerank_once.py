"""Pairs of equal tokens are scored once."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.arrays import Int32
from shardrank.core.protocols import PairScores, Tokeniser
from shardrank.stages.rank.rerank_pairs import scored_once


class Sums:
    """A reranker that adds up tokens, and counts pairs."""

    prompt = ""
    tokeniser: Tokeniser

    def __init__(self) -> None:
        self.pairs = 0

    def score(
        self, queries: Sequence[Int32], passages: Sequence[Int32], left: Int32, right: Int32
    ) -> PairScores:
        """Sums, the query's doubled."""
        self.pairs = len(left)
        both = zip(left, right, strict=True)
        sums = [2 * queries[q].sum() + passages[p].sum() for q, p in both]
        return PairScores(np.array(sums, np.float32), np.array(sums) % 2 == 1)


TEXTS = st.lists(st.lists(st.integers(0, 2), max_size=2), min_size=1, max_size=6)


@given(queries=TEXTS, passages=TEXTS, data=st.data())
def test_equal_pairs_have_one_score(
    queries: list[list[int]], passages: list[list[int]], data: st.DataObject
) -> None:
    places = st.tuples(st.integers(0, len(queries) - 1), st.integers(0, len(passages) - 1))
    chosen = np.array(data.draw(st.lists(places, max_size=20)), np.int32).reshape(-1, 2)
    asked, read = ([np.array(row, np.int32) for row in rows] for rows in (queries, passages))
    once, each = Sums(), Sums()
    found = scored_once(once, asked, read, chosen[:, 0], chosen[:, 1])
    expected = each.score(asked, read, chosen[:, 0], chosen[:, 1])
    assert found.logits.tolist() == expected.logits.tolist()
    assert found.truncated.tolist() == expected.truncated.tolist()
    assert once.pairs == len({(tuple(queries[q]), tuple(passages[p])) for q, p in chosen})
