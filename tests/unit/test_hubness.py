"""Hubness against the formula, term by term."""

import math

import numpy as np
import pytest

from shardrank.core import hubness as module
from shardrank.core.arrays import Float32
from shardrank.core.hubness import hubness

RNG = np.random.default_rng(0)


def vectors(rows: int) -> Float32:
    made = RNG.standard_normal((rows, 6)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def expected(passage: Float32, banks: list[Float32], beta: float) -> float:
    def log_mean(bank: Float32) -> float:
        powers = [math.exp(beta * float(np.dot(b.astype(float), passage))) for b in bank]
        return math.log(sum(powers) / len(powers)) / beta

    return sum(map(log_mean, banks)) / len(banks)


@pytest.mark.parametrize("banks", [[vectors(9)], [vectors(9), vectors(20)]])
@pytest.mark.parametrize("beta", [1.0, 20.0])
def test_it_is_the_formula(banks: list[Float32], beta: float) -> None:
    passages = vectors(7)
    wanted = [expected(passage, banks, beta) for passage in passages]
    assert hubness(passages, banks, beta).tolist() == pytest.approx(wanted, rel=1e-5)


def test_what_is_looked_at_together_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    passages, banks = vectors(200), [vectors(33)]
    whole = hubness(passages, banks, 20.0)
    assert np.array_equal(whole[50:60], hubness(passages[50:60], banks, 20.0))
    monkeypatch.setattr(module, "_AT_ONCE", 100)
    assert np.array_equal(whole, hubness(passages, banks, 20.0))


def test_a_hub_is_lowered_below_what_only_its_query_is_near_to() -> None:
    """The hub is the nearest of every query; corrected, each query has its own passage first."""
    queries = np.eye(3, dtype=np.float32)
    hub = np.full((1, 3), 0.9, np.float32)
    passages = np.concatenate([0.85 * np.eye(3, dtype=np.float32), hub])
    scores = queries @ passages.T
    assert scores.argmax(axis=1).tolist() == [3, 3, 3]
    corrected = scores - hubness(passages, [queries], 20.0)
    assert corrected.argmax(axis=1).tolist() == [0, 1, 2]


def test_large_scores_do_not_overflow() -> None:
    found = hubness(np.full((2, 2), 300, np.float32), [np.full((3, 2), 300, np.float32)], 100.0)
    assert found.tolist() == pytest.approx([180_000] * 2)
