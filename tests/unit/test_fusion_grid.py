"""Which fusions are tried, and which of two is nearer to a run's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.fusion_grid import MOST, distance, fusion_grid, weightings
from shardrank.core.rank_settings import FusionSettings

lists = st.integers(2, 9)
fusions = st.builds(
    FusionSettings,
    how=st.sampled_from(["rrf", "scores"]),
    norm=st.sampled_from(["min-max", "z"]),
    rank_constant=st.sampled_from([0, 60]),
)


def corner(number: int, lists: int) -> tuple[float, ...]:
    return tuple(float(n == number) for n in range(lists))


@given(lists)
def test_weightings_hold_each_retriever_alone_and_all_alike(lists: int) -> None:
    found = weightings(lists)
    assert len(set(found)) == len(found) <= MOST + 1
    assert {corner(n, lists) for n in range(lists)} <= {*found}
    assert sum(len({*each}) == 1 for each in found) == 1
    assert all(sum(each) == pytest.approx(1, abs=1e-3) or {*each} == {1.0} for each in found)


def test_two_are_weighted_in_twentieths_three_in_fifths() -> None:
    assert weightings(2) == [(round(1 - n / 20, 2), n / 20) for n in range(21)]
    assert len(weightings(3)) == 22
    assert (0.4, 0.2, 0.4) in weightings(3)


@given(fusions, lists, st.data())
def test_the_grid_is_every_way_by_every_weighting(
    own: FusionSettings, lists: int, data: st.DataObject
) -> None:
    drawn = data.draw(st.none() | st.sampled_from(weightings(lists)))
    own = FusionSettings.model_validate(own.model_dump() | {"weights": drawn})
    first, *others = fusion_grid(own, lists)
    assert first == own.model_copy(update={"weights": drawn or (1.0,) * lists})
    assert len(others) == 3 * len(weightings(lists)) - 1, "its own is there once"
    assert {each.rank_constant for each in others} == {own.rank_constant}
    keys = {(e.how, e.norm if e.how == "scores" else "", e.weights) for e in others}
    assert len(keys) == len(others)


def test_a_strange_weight_is_one_more() -> None:
    own = FusionSettings(weights=(0.333, 0.667))
    assert len(fusion_grid(own, 2)) == 64
    assert len(fusion_grid(FusionSettings(weights=(3, 7)), 2)) == 63


def test_nearer_is_the_same_way_and_then_the_weights() -> None:
    own = FusionSettings(how="rrf", norm="z", weights=(1, 1))
    near = FusionSettings(how="rrf", norm="min-max", weights=(0.5, 0.5))
    far = FusionSettings(how="rrf", weights=(1, 0))
    other = FusionSettings(how="scores", norm="z", weights=(1, 1))
    assert distance(own, near) == (False, 0), "the norm is nothing to rrf"
    assert sorted([other, far, near], key=lambda each: distance(own, each)) == [near, far, other]
    scaled = FusionSettings(how="scores", norm="min-max", weights=(1, 1))
    assert distance(other, scaled) == (True, 0)
