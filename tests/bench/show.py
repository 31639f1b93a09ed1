"""Outcomes as a table, as bench.json, and as the tables of docs/measured-speed.md."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.bench.bounds import Bound
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


def write_json(
    path: Path, outcomes: Sequence[Outcome], bounds: Sequence[Bound], about: dict[str, Any]
) -> None:
    """All figures, and what they were measured on."""
    value = {
        **about,
        "benchmarks": [asdict(outcome) for outcome in outcomes],
        "bounds": [asdict(bound) for bound in bounds],
    }
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def write_markdown(path: Path, measured: Mapping[str, Any]) -> None:
    """What bench.json holds, as docs/measured-speed.md has it: machine, duels and bounds."""
    pieces = (_machine(measured), _duels(measured), _bounds(measured))
    path.write_text("\n\n".join(pieces) + "\n", "utf-8")


def _machine(measured: Mapping[str, Any]) -> str:
    rates = ", ".join(f"{kind} {rate:,}" for kind, rate in measured["peaks"].items())
    return (
        f"{measured['date']}, {measured['cpu']}, {measured['cores']} cores; products on one core, "
        f"10⁹ operations a second: {rates}."
    )


def _duels(measured: Mapping[str, Any]) -> str:
    """One row a duel."""
    rows = ["| work | ours | peer | times as fast | floor | goal |", "|---|---|---|---|---|---|"]
    for outcome in measured["benchmarks"]:
        speeds = {speed["name"]: speed["per_second"] for speed in outcome["speeds"]}
        rows += [_row(outcome, speeds, ratio) for ratio in outcome["ratios"]]
    return "\n".join(rows)


def _bounds(measured: Mapping[str, Any]) -> str:
    bounds = [Bound(**value) for value in measured["bounds"]]
    rows = [f"| {b.name} | {b.shown()} | {f'{b.most:g} {b.unit}'.rstrip()} |" for b in bounds]
    return "\n".join(["| what | measured | at most |", "|---|---|---|", *rows])


def _row(outcome: Mapping[str, Any], speeds: Mapping[str, float], ratio: Mapping[str, Any]) -> str:
    duel = ratio["duel"]
    shown = [f"{duel[who]}: {_rounded(speeds[duel[who]])}" for who in ("ours", "peer")]
    spread = f"**{ratio['median']:.2f}** ({ratio['least']:.2f} to {ratio['most']:.2f})"
    cells = [f"{outcome['name']}, {outcome['unit']}/s", *shown, spread]
    return f"| {' | '.join(cells)} | {duel['floor']:g} | {duel['goal']:g} |"


def _rounded(value: float) -> str:
    """To three digits."""
    digits = max(0, 2 - int(math.log10(value)))
    return f"{round(value, 2 - int(math.log10(value))):,.{digits}f}"
