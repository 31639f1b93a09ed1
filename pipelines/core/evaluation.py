"""How good an order of documents is, against relevance judgements, by ir-measures.

nDCG@10 takes the judged relevance as gain and log2(rank + 1) as discount (Järvelin and
Kekäläinen, 2002, as in trec_eval); MRR@10 and Recall@100 count relevance of 1 and more.
https://ir-measur.es
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import ir_measures
import pyarrow as pa
import pyarrow.compute as pc
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG

from shardrank.core.errors import InputError
from shardrank.core.same_ids import SameIds

#: The contract's name of each metric → the measure of ir-measures that computes it.
MEASURES = {"nDCG@10": nDCG @ 10, "MRR@10": RR @ 10, "Recall@100": R @ 100}


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


@dataclass(frozen=True)
class Evaluation:
    """Metrics of rankings, and what to know of them.

    Attributes:
        metrics: by order and name: those of `evaluate`, and before them those of each retriever
            alone, where there are several.
        coverage: how many of the queries are judged, and of the judged ones ranked.
        unmet: where all metrics are 0, a sentence that says so; else "".
    """

    metrics: Metrics
    coverage: Coverage
    unmet: str

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


def evaluate(
    blocks: Iterable[pa.Table], judgements: Sequence[Judgement], ignore_same_id: bool = False
) -> dict[str, dict[str, float]]:
    """Means of nDCG@10, MRR@10 and Recall@100 over the judged queries.

    A judged query without a ranking counts as 0; a ranked query without judgements is left out.

    Args:
        blocks: tables of schema RANKINGS, rows in any order, a document once for each query; of
            what is walked only the judged queries' rows are kept.
        judgements: what is relevant to what, each pair once.
        ignore_same_id: pass over documents with their query's own id; those below move up.

    Returns:
        `{"retrieved": {metric: mean}, "reranked": {…}}`: "retrieved" orders the documents by
        `retrieval_rank`; "reranked" orders them by `rank`, and is there only where some
        `rerank_score` is not null.

    Raises:
        InputError: no query is both ranked and judged.
    """
    rankings = _judged(blocks, judgements)
    if ignore_same_id:
        rankings = rankings.filter(pc.not_equal(rankings["query_id"], rankings["doc_id"]))
    orders = {"retrieved": "retrieval_rank"}
    if rankings["rerank_score"].null_count < rankings.num_rows:
        orders["reranked"] = "rank"
    qrels = [Qrel(j.query_id, j.doc_id, j.relevance) for j in judgements]
    return {name: _metrics(rankings, column, qrels) for name, column in orders.items()}


def _metrics(rankings: pa.Table, rank_column: str, qrels: list[Qrel]) -> dict[str, float]:
    # −rank and not the score: scores tie, and each measure would break the ties its own way.
    run = [
        ScoredDoc(query, doc, -rank)
        for query, doc, rank in zip(
            rankings["query_id"].to_pylist(),
            rankings["doc_id"].to_pylist(),
            rankings[rank_column].to_pylist(),
            strict=True,
        )
    ]
    means = ir_measures.calc_aggregate(MEASURES.values(), qrels, run)
    return {name: float(means[measure]) for name, measure in MEASURES.items()}


def unmet(
    metrics: Metrics,
    blocks: Iterable[pa.Table],
    judgements: Sequence[Judgement],
) -> str:
    """What to look at where every metric is 0: ids that never meet; "" where one is not."""
    if any(value for values in metrics.values() for value in values.values()):
        return ""
    ranked = next((repr(block["doc_id"][0].as_py()) for block in blocks if block.num_rows), "none")
    relevant = [repr(j.doc_id) for j in judgements if j.relevance > 0]
    if not relevant:
        return "All metrics are 0: no judgement is above 0, so that nothing is relevant."
    return (
        f"All metrics are 0: no relevant document was found. The judgements name documents such as "
        f"{relevant[0]}, the rankings such as {ranked}."
    )


def _judged(blocks: Iterable[pa.Table], judgements: Sequence[Judgement]) -> pa.Table:
    """The rows of judged queries. Raises InputError where there is none."""
    wanted = pa.array({judgement.query_id for judgement in judgements}, pa.string())
    kept, ranked = [], "none"
    for block in blocks:
        kept.append(block.filter(pc.is_in(block["query_id"], wanted)))
        if ranked == "none" and block.num_rows:
            ranked = repr(block["query_id"][0].as_py())
    if any(table.num_rows for table in kept):
        return pa.concat_tables(kept)
    judged = repr(judgements[0].query_id) if judgements else "none"
    raise InputError(
        f"None of the ranked queries has a judgement: the rankings hold query ids such as {ranked},"
        f" the judgements such as {judged} ({len(wanted)} queries).",
        "Give the judgements that belong to these queries.",
    )
