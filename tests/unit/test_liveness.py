import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.errors import IntegrityError
from shardrank.version.liveness import mark, pack, unpack


@given(bits=st.lists(st.booleans(), max_size=70))
def test_round_trip(bits: list[bool]) -> None:
    found = unpack(pack(np.array(bits, np.bool_)), len(bits))
    assert found.tolist() == bits


def test_the_first_row_is_the_lowest_bit() -> None:
    assert pack(np.array([True, False, False, True])) == bytes([0b1001])


def test_a_bitmap_of_another_part_is_refused() -> None:
    with pytest.raises(IntegrityError, match="2 bytes does not belong to a part of 7 rows"):
        unpack(b"\0\0", 7)


def test_runs_are_marked_and_marks_stay() -> None:
    before = np.array([True, *[False] * 7])
    starts, counts = np.array([2, 6]), np.array([3, 2])
    found = mark(before, starts, counts)
    assert found.tolist() == [True, False, True, True, True, False, True, True]
    assert before.sum() == 1
