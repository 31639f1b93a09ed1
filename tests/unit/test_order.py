import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.corpus.order import Instant, order_key

NUMBERS = st.one_of(
    st.integers(-20, 20),
    st.integers(),
    st.integers(2**53 - 3, 2**53 + 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 0.1, 1e300, -1e-300, 10**60, -(10**60)]),
    st.decimals(allow_nan=False, allow_infinity=False, places=6),
)


def compared(one: Any, other: Any) -> int:
    return (one > other) - (one < other)


@settings(max_examples=500)
@given(one=NUMBERS, other=NUMBERS)
def test_numbers_sort_by_their_exact_values(one: Any, other: Any) -> None:
    keys = [str(order_key(value)).encode() for value in (one, other)]
    assert compared(*keys) == compared(Fraction(one), Fraction(other))


@given(one=st.text(max_size=9), other=st.text(max_size=9))
def test_texts_sort_by_code_point(one: str, other: str) -> None:
    keys = [str(order_key(value)).encode() for value in (one, other)]
    assert compared(*keys) == compared(one, other)


@given(one=st.integers(-(2**70), 2**70), other=st.integers(-(2**70), 2**70))
def test_times(one: int, other: int) -> None:
    keys = [str(order_key(Instant(value))) for value in (one, other)]
    assert compared(*keys) == compared(one, other)


@pytest.mark.parametrize(
    "value", [None, True, False, math.nan, math.inf, Decimal("NaN"), [1], {}, "\ud800", "é" * 257]
)
def test_what_has_no_order(value: Any) -> None:
    assert order_key(value) is None


def test_kinds() -> None:
    assert [str(order_key(v))[0] for v in (1, 1.5, Decimal(1), "1", Instant(1))] == list("nnnti")
