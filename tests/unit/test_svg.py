"""Scales, round values and elements of the report's charts."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.report.svg import Area, Scale, drawing, round_values, text

numbers = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-3)


@given(numbers, numbers, st.integers(2, 8))
def test_round_values_lie_between_and_are_few(one: float, other: float, most: int) -> None:
    low, high = sorted((one, other))
    found = round_values(low, high, most)
    assert found == sorted(found)
    assert len(found) <= most + 1
    space = 1e-6 * max(abs(low), abs(high))
    assert all(low - space <= value <= high + space for value in found)


@pytest.mark.parametrize(
    ("low", "high", "most", "found"),
    [
        (0, 4000, 4, [0, 1000, 2000, 3000, 4000]),
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-3.1, 2.2, 7, [-3, -2, -1, 0, 1, 2]),
        (5, 5, 4, [5]),
    ],
)
def test_round_values(low: float, high: float, most: int, found: list[float]) -> None:
    assert round_values(low, high, most) == pytest.approx(found)


def test_scales_are_straight_or_by_logarithms() -> None:
    assert Scale((0, 10), (20, 120)).at(2.5) == 45
    assert Scale((0, 1), (100, 0)).at(0.25) == 75
    assert Scale((1, 16), (0, 100), log=True).at(4) == 50
    assert Scale((3, 3), (0, 100)).at(3) == 50


def test_a_drawing_is_well_formed_whatever_it_says() -> None:
    area = Area(Scale((0, 2), (30, 130)), Scale((0, 4), (80, 10)))
    pieces = [
        *area.rows([(2, "<2>")], "a & b"),
        *area.columns([(1, "1")], "x", lines=True),
        area.bar((0, 1), (0, 4), "#123456", 0.5),
        text(1.005, -0.001, '"&<', turned=-30),
    ]
    root = ElementTree.fromstring(drawing((140, 120), 'of "<&>"', pieces))
    assert root.get("aria-label") == 'of "<&>"'
    assert [each.text for each in root.iter("text")] == ["<2>", "a & b", "1", "x", '"&<']
    bar = next(root.iter("rect"))
    assert [bar.get(key) for key in ("x", "y", "width", "height")] == ["30", "10", "50", "70"]
    assert [each.get("y") for each in root.iter("text")][-1] == "0"
