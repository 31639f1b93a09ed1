"""What the page says in words: one sentence a fact, and one where a section has no data."""

from collections.abc import Iterable

from shardrank.core.evaluation import Coverage, Metrics
from shardrank.core.excluded import ExcludedCounts
from shardrank.core.measures import cutoff
from shardrank.report import figures as formats
from shardrank.report.data import AuditCurve, ReportCounts, ReportData
from shardrank.version.indexes import AuditPoint


def headline(data: ReportData) -> str:
    """What ran, on how much."""
    counts = data.counts
    ranked = f"{_many(counts.queries, 'query', 'queries')} ranked against" if counts.queries else ""
    reranked = f", {_many(counts.pairs, 'pair')} reranked" if counts.pairs else ""
    if counts.not_finite:
        reranked += f", {_many(counts.not_finite, 'pair')} without a finite score"
    documents = _many(counts.documents, "document")
    passages = _many(counts.passages, "passage")
    end = "" if counts.queries else " indexed"
    return f"{ranked} {documents} in {passages}{end}{reranked}.".strip()


def audit(data: ReportData) -> str:
    """What the audit found, and what was chosen because of it."""
    curve = data.audit
    if curve is None:
        return "This run recorded no audit of the index."
    if curve.kind == "exact":
        return (
            "The index is exact: every query is compared with every passage, so that nothing is"
            " approximated and there is no setting to choose."
        )
    if not curve.points:
        return "The audit measured no search setting."
    return _tuned(curve)


def _tuned(curve: AuditCurve) -> str:
    best = max(curve.points, key=lambda point: point.recall)
    chosen = [p for p in curve.points if (p.nprobe, p.depth) == curve.chosen]
    if not chosen:
        return (
            f"No setting reached a Recall@{curve.k} of {curve.target:g} against exact search; the"
            f" best was {best.recall:.3f}, with {_setting(best)}."
        )
    point = chosen[0]
    dearest = max(p.cost for p in curve.points)
    return (
        f"Queries search with {_setting(point)}: of the {curve.k} documents that exact search finds"
        f" first, this finds {100 * point.recall:.1f} % (target {100 * curve.target:g} %). Each"
        f" query costs {formats.share(point.cost, dearest)} of what the dearest setting tried"
        " costs."
    )


def _setting(point: AuditPoint) -> str:
    return f"nprobe {point.nprobe} and refine depth {formats.count(point.depth)}"


def reconciles(counts: ReportCounts) -> bool:
    """Whether each row that was read is accounted for."""
    return counts.rows == counts.accepted + counts.rejected


def live(counts: ReportCounts) -> str:
    """What the index holds, whichever run brought it there."""
    held = f"{_many(counts.documents, 'document')} in {_many(counts.passages, 'passage')}"
    return f"The rows are those of the run that made this version; the index holds {held}."


def truncated(counts: ReportCounts) -> str:
    """How many passages a model sees only the beginning of."""
    if not counts.truncated:
        return "Every passage fits the model whole."
    return (
        f"{_many(counts.truncated, 'passage')} ({formats.share(counts.truncated, counts.passages)})"
        " exceed the model's longest input: the model sees their beginning only."
    )


def metrics(data: ReportData) -> str:
    """Which queries the metrics are about, or why there are none."""
    if not data.metrics:
        return "No judgements were given, so nothing can be said about quality."
    said = [*covered(data.coverage), *lowered(data.metrics)]
    text = " ".join(["Means over all judged queries, by ir-measures.", *said])
    if "reranked" not in data.metrics:
        text += " Nothing was reranked."
    return text


def covered(coverage: Coverage | None) -> list[str]:
    """Which queries the metrics leave out or count as nothing, a sentence each."""
    said = uncounted(coverage)
    if coverage and coverage.unjudged_queries:
        some = _many(coverage.unjudged_queries, "ranked query", "ranked queries")
        said.append(f"{some} without judgements: left out.")
    return said


def uncounted(coverage: Coverage | None) -> list[str]:
    """That judged queries were not ranked; nothing where all were."""
    if not coverage or not coverage.unranked_queries:
        return []
    some = f"{formats.count(coverage.unranked_queries)} of {formats.count(coverage.judged)}"
    return [f"Not ranked: {some} judged queries, which count as 0."]


def deeper(metrics: Iterable[str], k: int) -> list[str]:
    """Which metrics look further than a ranking goes; nothing where none does."""
    found = [name for name in metrics if (cutoff(name) or 0) > k]
    if not found:
        return []
    verb = "looks" if len(found) == 1 else "look"
    kept = _many(k, "document")
    return [f"{' and '.join(found)} {verb} further than the {kept} that a query has (search.k)."]


def queries(data: ReportData) -> str:
    """Which queries the table shows, or why there is none."""
    table = data.queries
    if table is None:
        return "Nothing was judged or reranked, so no query stands out."
    kind = "query that is judged and ranked" if table.metrics else "ranked query"
    some = _many(table.total, kind, kind.replace("query", "queries").replace(" is ", " are "))
    if len(table.rows) == table.total:
        return f"{some}."
    if not table.metrics:
        what = "of which reranking moved the first 10 documents furthest"
    elif table.reranked:
        what = f"of which reranking changed {table.metrics[0]} most"
    else:
        what = f"with the lowest {table.metrics[0]}"
    return f"Of {some} those {formats.count(len(table.rows))} are in the table below {what}."


def lowered(metrics: Metrics) -> list[str]:
    """Which metrics fusion makes worse than a retriever alone, and reranking, a sentence each."""
    fused, after = metrics["retrieved"], metrics.get("reranked", metrics["retrieved"])
    said = []
    for retriever in (name for name in metrics if name not in ("retrieved", "reranked")):
        worse = [name for name in fused if fused[name] < metrics[retriever][name]]
        if worse:
            said.append(
                f"{retriever} alone gives more {' and '.join(worse)} than the fused list: "
                "shardrank tune finds the fusion that suits."
            )
    worse = [name for name in fused if after[name] < fused[name]]
    if worse:
        said.append(
            f"Reranking lowers {' and '.join(worse)}: shardrank tune finds the weight that suits, "
            "and reranker.model=off leaves it out."
        )
    return said


def absent(documents: int) -> str:
    """How many judged documents could not be found by any search; "" where there are none."""
    if not documents:
        return ""
    return f"{_many(documents, 'judged document')} not in the index: no search finds them."


def excluded(counts: ExcludedCounts | None) -> str:
    """What queries exclude, and whether the index holds it; "" where they may not."""
    if counts is None:
        return ""
    named = _many(counts.documents, "document")
    queries = _many(counts.queries, "query", "queries")
    held = f"{formats.count(counts.held)} in the index"
    there = f"{held} + {formats.count(counts.absent)} not in it" if counts.absent else held
    return f"{named} left out for {queries} (search.exclude): {there}."


def _many(number: int, one: str, more: str = "") -> str:
    return f"{formats.count(number)} {one if number == 1 else more or one + 's'}"
