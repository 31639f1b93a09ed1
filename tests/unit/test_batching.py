import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardrank.models.forward.token_budget import plan_batches

LENGTHS = st.lists(st.integers(0, 600), max_size=200).map(lambda x: np.array(x, np.int32))
BUDGETS = st.integers(1, 5000)


@given(LENGTHS, BUDGETS)
def test_every_row_is_in_exactly_one_batch(lengths: np.ndarray, budget: int) -> None:
    rows = [row for batch in plan_batches(lengths, budget) for row in batch.tolist()]
    assert sorted(rows) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS)
def test_padded_size_stays_within_the_budget(lengths: np.ndarray, budget: int) -> None:
    for batch in plan_batches(lengths, budget):
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= budget


@given(LENGTHS, BUDGETS)
def test_no_batch_could_take_the_next_row(lengths: np.ndarray, budget: int) -> None:
    batches = plan_batches(lengths, budget)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(1, lengths[batch].max()) > budget


@given(LENGTHS, BUDGETS)
def test_longest_first_and_stable(lengths: np.ndarray, budget: int) -> None:
    rows = [row for batch in plan_batches(lengths, budget) for row in batch.tolist()]
    assert rows == sorted(rows, key=lambda row: (-lengths[row], row))


def test_example() -> None:
    batches = plan_batches(np.array([3, 9, 4, 9, 1], np.int32), budget=18)
    assert [batch.tolist() for batch in batches] == [[1, 3], [2, 0, 4]]
