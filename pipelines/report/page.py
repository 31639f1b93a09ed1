"""The page: what a run recorded, as one HTML file that needs nothing else to be read.

Titles, snippets and queries are other people's text: the template escapes all of it, and the
page's own content security policy forbids loads of any kind, and all scripts but the one that
sorts the table of queries, which it knows by its hash.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from shardrank.report import figures as formats
from shardrank.report import plots, sentences
from shardrank.report.data import Flow, ReportData

Tone = Literal["up", "down", "same"]


@dataclass(frozen=True)
class MetricRow:
    """One metric as the page shows it; `after` and `change` are none without a reranked order."""

    name: str
    before: str
    after: str | None
    change: str | None
    tone: Tone


def render(data: ReportData) -> str:
    """The report as a self-contained HTML page; equal data give equal bytes."""
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _template().render(
        data=data,
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        flow_times=_flow_times(data),
        metric_rows=_metric_rows(data),
        plots=_plots(data),
        say=sentences,
    )


@cache
def _script() -> str:
    return files("shardrank.report").joinpath("report.js").read_text("utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("shardrank.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "count": formats.count,
        "duration": formats.duration,
        "rate": formats.rate,
        "signed": formats.signed,
        "move": _move,
    }
    environment.filters.update(filters)
    return environment.get_template("report.html")


def _plots(data: ReportData) -> dict[str, Markup]:
    """The charts that the data suffice for, by the name that the template asks for."""
    drawn: dict[str, str] = {}
    if data.stages:
        drawn["stages"] = plots.stage_bars(data.stages)
    if data.audit and data.audit.points:
        drawn["recall"] = plots.recall_curve(data.audit)
    if data.metrics:
        drawn["metrics"] = plots.metric_bars(data.metrics)
    for name, histogram, value, unit, colour in (
        ("lengths", data.lengths, "tokens in a passage", "passages", plots.GREEN),
        ("retrieval", data.retrieval_scores, "retrieval score", "hits", plots.BEFORE),
        ("logits", data.rerank_logits, "reranker logit", "pairs", plots.BLUE),
    ):
        if histogram and histogram.total:
            drawn[name] = plots.distribution(histogram, value, unit, colour)
    # The charts' texts are numbers and names of ours, and they are escaped.
    return {name: Markup(svg) for name, svg in drawn.items()}


def _flow_times(data: ReportData) -> dict[Flow, float]:
    """Wall seconds of each flow that ran; its stages run one after the other."""
    times: dict[Flow, float] = {}
    for stage in data.stages:
        times[stage.flow] = times.get(stage.flow, 0.0) + stage.seconds
    return times


def _metric_rows(data: ReportData) -> list[MetricRow]:
    if not data.metrics:
        return []
    after = data.metrics.get("reranked", {})
    return [_metric_row(n, value, after.get(n)) for n, value in data.metrics["retrieved"].items()]


def _metric_row(name: str, before: float, after: float | None) -> MetricRow:
    if after is None:
        return MetricRow(name, f"{before:.3f}", None, None, "same")
    change = formats.change(before, after)
    tone: Tone = "up" if change.startswith("+") else "down" if change.startswith("−") else "same"
    return MetricRow(name, f"{before:.3f}", f"{after:.3f}", change, tone)


def _move(moved: int) -> str:
    return f"▲ {moved}" if moved > 0 else f"▼ {-moved}" if moved < 0 else "="
