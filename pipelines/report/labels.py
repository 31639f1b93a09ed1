"""The page of a label run: what was kept and left out, score distributions, suspects."""

from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shardrank.report import figures as formats
from shardrank.report import plots
from shardrank.report.data import Histogram, StageTime


@dataclass(frozen=True)
class Suspect:
    """An unjudged passage that the teachers put above the query's best positive, by `above`."""

    query: str
    doc_id: str
    snippet: str
    score: float
    above: float


@dataclass(frozen=True)
class LabelReportData:
    """Everything that the page shows; what is none or empty is left out or said to be missing.

    Attributes:
        facts: name → value: format, loss, source, teachers, the index's version.
        settings: `label.key` → value.
        queries: what became of the queries: "used" or a reason → how many.
        candidates: what became of what the teachers scored → how many.
        pairs: what became of each positive-negative pair → how many.
        positives, others: score distributions of candidates, with equal edges.
        margins: of the rows' positives over their negatives.
    """

    title: str
    created: str
    command: str
    rows: int
    facts: Mapping[str, str]
    settings: Mapping[str, str]
    queries: Mapping[str, int]
    candidates: Mapping[str, int]
    pairs: Mapping[str, int]
    stages: tuple[StageTime, ...]
    positives: Histogram | None
    others: Histogram | None
    margins: Histogram | None
    suspects: tuple[Suspect, ...]
    suspects_in_all: int


def render_labels(data: LabelReportData) -> str:
    """The report as a self-contained HTML page; equal data give equal bytes."""
    environment = Environment(
        loader=PackageLoader("shardrank.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=formats.count, duration=formats.duration, rate=formats.rate, figure=formats.figure
    )
    return environment.get_template("labels.html").render(data=data, plots=_plots(data))


def _plots(data: LabelReportData) -> dict[str, Markup]:
    drawn: dict[str, str] = {}
    if data.positives and data.others:
        names = ("positives", "other candidates")
        drawn["scores"] = plots.compared(
            data.positives, data.others, names, "teacher score", "candidates"
        )
    if data.margins:
        drawn["margins"] = plots.distribution(
            data.margins, "positive's score less the negative's", "pairs", plots.BLUE
        )
    # The charts' texts are numbers and names of ours, and they are escaped.
    return {name: Markup(svg) for name, svg in drawn.items()}
