"""How good an order of documents is, against relevance judgements: what comes of measuring."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Float64
from shardrank.core.measures import measure
from shardrank.core.same_ids import SameIds


@dataclass(frozen=True)
class Judgement:
    """How relevant a document is to a query; 0 and below mean that it is not."""

    query_id: str
    doc_id: str
    relevance: int


@dataclass(frozen=True)
class Coverage:
    """How many queries are judged, how many are ranked, and how many are both."""

    judged: int
    ranked: int
    both: int

    @property
    def unjudged_queries(self) -> int:
        """Ranked queries without judgements: left out of the metrics."""
        return self.ranked - self.both

    @property
    def unranked_queries(self) -> int:
        """Judged queries without a ranking: they count as 0."""
        return self.judged - self.both


#: An order: "retrieved", where there is a reranker "reranked", and a retriever's name where there
#: are several → a metric's name → its mean.
Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class PerQuery:
    """What each judged query gets.

    Attributes:
        queries: those that are ranked, as the rankings have them, then the others.
        ranked: how many of them are.
        values: "retrieved" and perhaps "reranked" → a metric's name → float64[queries].
    """

    queries: Sequence[str]
    ranked: int
    values: Mapping[str, Mapping[str, Float64]]

    def means(self) -> dict[str, dict[str, float]]:
        """By order and metric; of metrics that count, such as NumRet, what ir-measures makes of
        all queries."""
        return {
            order: {name: _aggregate(name, values) for name, values in by_name.items()}
            for order, by_name in self.values.items()
        }


def _aggregate(name: str, values: Float64) -> float:
    """As ir-measures adds them up: one after the other."""
    found = measure(name).aggregator()
    for value in values.tolist():
        found.add(value)
    return float(found.result())


NOTHING = PerQuery((), 0, {})


@dataclass(frozen=True)
class Evaluation:
    """Metrics of rankings, and what to know of them.

    Attributes:
        metrics: by order and name: those of `evaluate`, and before them those of each retriever
            alone, where there are several.
        coverage: how many of the queries are judged, and of the judged ones ranked.
        unmet: where all metrics are 0, a sentence that says so; else "".
        k: documents that a query's ranking holds at most.
        per_query: the metrics of each judged query.
    """

    metrics: Metrics
    coverage: Coverage
    unmet: str
    k: int
    per_query: PerQuery = field(default=NOTHING, compare=False, repr=False)

    def beside(self, alone: Metrics) -> "Evaluation":
        """The same with what each retriever gives alone, by its name."""
        return replace(self, metrics={**alone, **self.metrics})


def coverage(blocks: Iterable[pa.Table], judgements: Sequence[Judgement]) -> Coverage:
    """Counts queries by whether they are ranked (RANKINGS, of which no two share a query) and
    judged."""
    judged = {judgement.query_id for judgement in judgements}
    ranked = both = 0
    for block in blocks:
        found = set(pc.unique(block["query_id"]).to_pylist())
        ranked, both = ranked + len(found), both + len(judged & found)
    return Coverage(len(judged), ranked, both)


def same_ids(blocks: Iterable[pa.Table]) -> SameIds:
    """Counts queries whose ranking (RANKINGS) holds the document with their own id."""
    queries = first = 0
    for block in blocks:
        same = block.filter(pc.equal(block["query_id"], block["doc_id"]))
        queries += same.num_rows
        first += pc.sum(pc.equal(same["retrieval_rank"], 1)).as_py() or 0
    return SameIds(queries, first, 0, 0, ignored=False)


def unmet(
    metrics: Metrics,
    blocks: Iterable[pa.Table],
    judgements: Sequence[Judgement],
) -> str:
    """What to look at where every metric is 0: ids that never meet; "" where one is not.

    Of the blocks (RANKINGS) query_id and doc_id are read.
    """
    if any(value for values in metrics.values() for value in values.values()):
        return ""
    pairs = {(j.query_id, j.doc_id) for j in judgements if j.relevance > 0}
    relevant = [repr(j.doc_id) for j in judgements if j.relevance > 0]
    if not relevant:
        return "All metrics are 0: no judgement is above 0, so that nothing is relevant."
    ranked = "none"
    for block in blocks:
        found = zip(block["query_id"].to_pylist(), block["doc_id"].to_pylist(), strict=True)
        if not pairs.isdisjoint(found):
            return "All metrics are 0, and relevant documents were found: below what they look at."
        if ranked == "none" and block.num_rows:
            ranked = repr(block["doc_id"][0].as_py())
    return (
        f"All metrics are 0: no relevant document was found. The judgements name documents such as "
        f"{relevant[0]}, the rankings such as {ranked}."
    )
