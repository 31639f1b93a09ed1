"""Outcomes as a table, as bench.json and as bench.png."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table

from tests.bench.harness import Outcome, Ratio

OURS, FLOOR, LINE = "#0072B2", "#D55E00", "#5f6b7a"  # Okabe and Ito (2008), as in the report


def table(outcome: Outcome) -> Table:
    """One row a contender, then one a duel: what it came to, the floor and the goal."""
    shown = Table("", f"{outcome.unit}/s", "seconds", "distance", title=outcome.name)
    for column in shown.columns[1:]:
        column.justify = "right"
    for speed in outcome.speeds:
        shown.add_row(
            speed.name,
            f"{speed.per_second:,.1f}",
            f"{speed.median_seconds:.3f}",
            f"{speed.distance:.1e}",
        )
    shown.add_section()
    for ratio in outcome.ratios:
        duel = ratio.duel
        aims = f"floor {duel.floor:g}", f"goal {duel.goal:g}"
        shown.add_row(f"{duel.ours} : {duel.peer}", _ratio(ratio), *aims)
    return shown


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.median:.2f}× ({ratio.least:.2f}-{ratio.most:.2f})"


def write_json(path: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> None:
    """All figures, and what they were measured on."""
    value = {**about, "benchmarks": [asdict(outcome) for outcome in outcomes]}
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


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
    axes.set_xlabel("times the speed of the peer: median, least, most; | is the floor")
    figure.savefig(path, dpi=150)


def _labels(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{outcome.name}: {ratio.duel.ours.removeprefix('shardrank ')} to {ratio.duel.peer}"
        for outcome in outcomes
        for ratio in outcome.ratios
    ]
