"""Retrieval and reranker scores together: how a query's documents are ordered in the end.

A reranked document's score is a·logit + (1-a)·retrieval score. Documents that were not reranked
follow all that were, in their retrieval order. `score` alone must give that order (trec_eval and
others sort by it), so theirs is the lowest reranked score less the distance of their retrieval
score, each at least one float32 step below the one before.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.schemas import RANKINGS
from shardrank.core.topk import ranks


@dataclass(frozen=True)
class Blend:
    """How many documents of a query are reranked, and a in a·logit + (1-a)·the score before."""

    depth: int
    interpolation: float


@dataclass(frozen=True, eq=False)
class Retrieved:
    """Of n hits the ranks int32[n] and scores float32[n] before any reranker."""

    ranks: Int32
    scores: Float32


def reblended(table: pa.Table, interpolation: float) -> pa.Table:
    """RANKINGS of whole queries as another interpolation orders them."""
    names = table["query_id"].combine_chunks().dictionary_encode()
    hits = table.append_column("query", names.indices)
    hits = hits.sort_by([("query", "ascending"), ("retrieval_rank", "ascending")])
    logits = pc.fill_null(hits["rerank_score"], float("nan")).to_numpy()
    hits = hits.select(["query", "doc_id", "passage", "retrieval_score"])
    hits = hits.rename_columns(["query", "doc_id", "passage", "score"])
    before = Retrieved(ranks(hits), hits["score"].to_numpy())
    return rankings(hits, logits, interpolation, pa.chunked_array([names.dictionary]), before)


def rankings(
    hits: pa.Table,
    logits: Float32,
    interpolation: float,
    query_ids: pa.ChunkedArray,
    retrieved: Retrieved,
) -> pa.Table:
    """The contract's table from a block's sorted hits.

    Args:
        hits: HITS, sorted by query in the total order; their scores are those before the reranker.
        logits: float32[n], NaN where not reranked.
        interpolation: a in a·logit + (1-a)·score.
        query_ids: of the block's queries.
        retrieved: how the hits were found.
    """
    query, before = hits["query"].to_numpy(), hits["score"].to_numpy()
    score = final_scores(query, before, logits, interpolation)
    columns = [
        query_ids.take(hits["query"]).combine_chunks(),
        hits["doc_id"].combine_chunks(),
        hits["passage"].combine_chunks(),
        pa.array(np.zeros(len(query), dtype=np.int32)),
        pa.array(score),
        pa.array(retrieved.ranks, pa.int32()),
        pa.array(retrieved.scores),
        pa.array(logits, mask=np.isnan(logits)),
    ]
    table = pa.Table.from_arrays(columns, schema=RANKINGS).append_column("query", hits["query"])
    order = [("query", "ascending"), ("score", "descending"), ("doc_id", "ascending")]
    table = table.sort_by(order)
    table = table.set_column(3, RANKINGS.field("rank"), pa.array(ranks(table), pa.int32()))
    return table.drop_columns("query")


def final_scores(
    query: Int32, retrieval: Float32, logits: Float32, interpolation: float
) -> Float32:
    """float32[n]: the score that orders each query's documents (see the module's docstring).

    Rows are sorted by query, then in retrieval order. Without any reranked document in a query,
    the score is the retrieval score.
    """
    reranked = np.isfinite(logits)
    mixed = np.float32(interpolation) * logits + np.float32(1 - interpolation) * retrieval
    scores: Float32 = np.where(reranked, mixed, retrieval).astype(np.float32)
    starts = np.flatnonzero(np.diff(query, prepend=-1))
    for rows in np.split(np.arange(len(query)), starts[1:]):
        if reranked[rows].any() and not reranked[rows].all():
            _lower_tail(scores, retrieval, rows[reranked[rows]], rows[~reranked[rows]])
    return scores


def _lower_tail(scores: Float32, retrieval: Float32, head: Int64, tail: Int64) -> None:
    """Give the rows of `tail`, which are in retrieval order, scores below all of `head`."""
    lowest, top = scores[head].min(), retrieval[tail[0]]
    below = lowest
    for row in tail:
        below = min(lowest + (retrieval[row] - top), np.nextafter(below, np.float32(-np.inf)))
        scores[row] = below
