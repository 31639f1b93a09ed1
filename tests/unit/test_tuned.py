"""What is best of what was tried, what is said of it, and the settings that are written."""

import tomllib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.evaluate_settings import DEFAULT_METRICS
from shardrank.core.fusion_grid import distance, fusion_grid
from shardrank.core.overrides import parse_settings
from shardrank.core.rank_settings import FusionSettings
from shardrank.flows.tuned import Alone, FusionTried, FusionTuned, Tried, Tuned
from shardrank.jobs.tune import SHOWN, fusion_table, said, said_of_fusion

METRIC = "MRR@10"
OWN = FusionSettings(rank_constant=7)
GRID = fusion_grid(OWN, 2)


def means(value: float) -> dict[str, float]:
    return dict.fromkeys(DEFAULT_METRICS, value)


def tuned_fusion(values: Sequence[float], alone: Sequence[float] = (0, 0)) -> FusionTuned:
    """What the first fusions of the grid give, the run's own among them, and each list alone."""
    both = zip(GRID, values, strict=False)
    tried = tuple(FusionTried(fusion, means(value)) for fusion, value in both)
    single = (Alone(name, means(v)) for name, v in zip(("dense", "bm25"), alone, strict=True))
    return FusionTuned(METRIC, tried[0], tried, tuple(single))


@given(st.lists(st.sampled_from([0.25, 0.5]), min_size=len(GRID), max_size=len(GRID)))
def test_of_equals_the_nearest_to_the_runs_own_is_best(values: list[float]) -> None:
    fusion = tuned_fusion(values)
    equals = [t for t in fusion.tried if t.metrics[METRIC] == max(values)]
    nearest = min(distance(tried.fusion, GRID[0]) for tried in equals)
    assert fusion.best in equals
    assert distance(fusion.best.fusion, GRID[0]) == nearest
    assert fusion.changed is (values[0] != max(values))
    found = [tried.metrics[METRIC] for tried in fusion.best_first]
    assert found == sorted(values, reverse=True)


@pytest.mark.parametrize("best", range(len(GRID)))
def test_the_settings_that_are_written_are_those_that_were_tried(best: int) -> None:
    fusion = tuned_fusion([n == best for n in range(len(GRID))])
    tuned = Tuned(METRIC, fusion.before.metrics, fusion=fusion)
    read = tomllib.loads(tuned.toml())
    assert read.keys() == {"fusion"}
    assert parse_settings(read, []).fusion == GRID[best]


def test_a_weight_that_was_measured_with_another_fusion_is_not_written() -> None:
    weights = (Tried(0.5, means(0.4)), Tried(1.0, means(0.3)))
    for values, changed in (([0.2, 0.1], False), ([0.1, 0.2], True)):
        fusion = tuned_fusion(values)
        tuned = Tuned(METRIC, means(0.2), weights[1], weights, fusion=fusion)
        assert ("reranker" in tomllib.loads(tuned.toml())) is not changed
        assert ("tune again" in tuned.toml()) is changed
        assert ("tune again" in " ".join(said(tuned))) is changed


def test_without_a_second_retriever_only_the_weight_is_written() -> None:
    weights = (Tried(0.0, means(0.4)), Tried(1.0, means(0.4)))
    tuned = Tuned(METRIC, means(0.2), weights[1], weights)
    wanted = [f"# {METRIC}: 0.4000 → 0.4000, where it was chosen", "[reranker]"]
    assert tuned.toml() == "\n".join([*wanted, "interpolation = 1.0", ""])


@pytest.mark.parametrize(
    ("alone", "name"), [((0.3, 0.1), None), ((0.1, 0.5), "bm25"), ((0.6, 0.7), "bm25")]
)
def test_a_retriever_that_does_as_well_alone_is_named(
    alone: tuple[float, float], name: str | None
) -> None:
    """A corner is no fusion of several, whatever it gives."""
    values = [0.4, *(0.5 if all(fusion.weights or ()) else 0.9 for fusion in GRID[1:])]
    fusion = tuned_fusion(values, alone)
    assert fusion.enough is bool(name)
    assert fusion.single.retriever == (name or "dense")
    assert any("bm25 alone gives" in line for line in said_of_fusion(fusion)) is bool(name)


@pytest.mark.parametrize(("own", "rows"), [(0.0, SHOWN + 1), (1.0, SHOWN)])
def test_the_runs_own_is_always_shown(own: float, rows: int) -> None:
    table = fusion_table(tuned_fusion([own, *([0.5] * (len(GRID) - 1))]))
    *_, marks = table.columns
    assert table.row_count == 2 + rows
    assert [cell for cell in marks.cells if cell] == (
        ["best", "as it was ranked"] if rows > SHOWN else ["as it was ranked, best"]
    )
