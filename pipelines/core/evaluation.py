"""How good an order of documents is, against relevance judgements, by ir-measures.

nDCG@10 takes the judged relevance as gain and log2(rank + 1) as discount (Järvelin and
Kekäläinen, 2002, as in trec_eval); MRR@10 and Recall@100 count relevance of 1 and more.
https://ir-measur.es
"""

from collections.abc import Sequence
from dataclasses import dataclass

import ir_measures
import pyarrow as pa
import pyarrow.compute as pc
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG

from pipelines.core.errors import InputError

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


def coverage(rankings: pa.Table, judgements: Sequence[Judgement]) -> Coverage:
    """Counts queries by whether they are ranked (RANKINGS) and judged."""
    judged = {judgement.query_id for judgement in judgements}
    ranked = set(pc.unique(rankings["query_id"]).to_pylist())
    return Coverage(len(judged), len(ranked), len(judged & ranked))


def evaluate(rankings: pa.Table, judgements: Sequence[Judgement]) -> dict[str, dict[str, float]]:
    """Means of nDCG@10, MRR@10 and Recall@100 over the judged queries.

    A judged query without a ranking counts as 0; a ranked query without judgements is left out.

    Args:
        rankings: a table of schema RANKINGS, rows in any order, a document once for each query.
        judgements: what is relevant to what; the last one wins where a pair is judged twice.

    Returns:
        `{"retrieved": {metric: mean}, "reranked": {…}}`: "retrieved" orders the documents by
        `retrieval_rank`; "reranked" orders them by `rank`, and is there only where some
        `rerank_score` is not null.

    Raises:
        InputError: no query is both ranked and judged.
    """
    _require_overlap(rankings, judgements)
    orders = {"retrieved": "retrieval_rank"}
    if rankings["rerank_score"].null_count < rankings.num_rows:
        orders["reranked"] = "rank"
    qrels = [Qrel(j.query_id, j.doc_id, j.relevance) for j in judgements]
    judged = rankings.filter(
        pc.is_in(rankings["query_id"], pa.array({q.query_id for q in qrels}, pa.string()))
    )
    return {name: _metrics(judged, column, qrels) for name, column in orders.items()}


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


def _require_overlap(rankings: pa.Table, judgements: Sequence[Judgement]) -> None:
    counts = coverage(rankings, judgements)
    if counts.both:
        return
    judged = repr(judgements[0].query_id) if judgements else "none"
    ranked = repr(rankings["query_id"][0].as_py()) if rankings.num_rows else "none"
    raise InputError(
        f"None of the {counts.ranked} ranked queries has a judgement: the rankings hold query"
        f" ids such as {ranked}, the judgements such as {judged} ({counts.judged} queries).",
        "Give the judgements that belong to these queries.",
    )
