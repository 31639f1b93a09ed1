"""Ratios of several benchmarks as a chart."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from tests.bench.harness import Outcome

OURS, FLOOR, LINE = "#0072B2", "#D55E00", "#5f6b7a"  # Okabe and Ito (2008), as in the report


def write_chart(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Horizontal bars of all ratios, with least and most, and the line at which both are equal."""
    ratios = [ratio for outcome in outcomes for ratio in outcome.ratios]
    figure = Figure(figsize=(8, 1.2 + 0.45 * len(ratios)), layout="constrained")
    axes = figure.subplots()
    middles = [ratio.median for ratio in ratios]
    spread = [[r.median - r.least for r in ratios], [r.most - r.median for r in ratios]]
    axes.barh(_labels(outcomes), middles, xerr=spread, color=OURS, ecolor=LINE, capsize=3)
    rows = range(len(ratios))
    axes.scatter([ratio.duel.floor for ratio in ratios], rows, marker="|", s=200, color=FLOOR)
    axes.axvline(1.0, color=LINE, linewidth=1, linestyle="--")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("times the speed of the peer:\nmedian, least, most; | is the floor")
    figure.savefig(path, dpi=150)


def _labels(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{outcome.name}: {ratio.duel.ours.removeprefix('shardrank ')} to {ratio.duel.peer}"
        for outcome in outcomes
        for ratio in outcome.ratios
    ]
