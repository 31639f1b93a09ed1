"""Outcomes as a table and as bench.json."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.bench.harness import Outcome, Ratio


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
