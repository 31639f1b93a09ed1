"""Several retrievers' hits become one list: reciprocal rank fusion, or a sum of scaled scores.

A document's score is the sum of its terms over the lists that hold it, each times the list's
weight. A list that does not hold a document adds nothing. The term of a hit is

    rrf                 1 / (rank_constant + rank)                        Cormack et al., SIGIR 2009
    scores, min-max     (score - min) / max(max - min, 1e-9)
    scores, z           (score - mean) / max(standard deviation, 1e-9)

over the hits that one list has for one query. This is the arithmetic of ranx 0.3.21, in float64:
`fuse` with method "rrf" and with norm "min-max" or "zmuv" and method "wsum", by hit lists that are
in the total order. ranx's wsum wants weights; where none are given, all are 1 here, which is its
method "sum". Its rrf knows none; here they multiply its terms. What follows from it:

- min-max gives the last hit of a list 0, as much as a document that is not in the list has. So it
  gives all hits of a list whose scores are equal, a list of one hit among them.
- z gives hits under their list's mean less than 0, and so less than a document has that is not in
  the list at all. Where the scores are equal, all hits get 0.
- The documents of a list of weight 0 are fused too, with 0 from that list.

pyserini (commit 0a0be29 of 2026-08-08) has the same rrf, from the column of ranks, and differs in:

- `fusion.normalize`: min-max, but all hits of a list whose scores are equal get 1. No weights.
- `fusion.interpolation` and `average`: scores as they are, times alpha and 1 - alpha, or 1/n.
- `HybridSearcher`: a document that is not in a list gets the list's lowest score. Its normalised
  score is (score - (min + max) / 2) / (max - min), a division by zero where scores are equal, and
  one of two lists is weighted. For other lists it is min-max less a constant: the same order.

Unlike in both, the terms of a document are summed in ascending order. So documents whose terms are
the same, in whatever lists, tie to the last bit, and the order of the lists decides no score.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float64, Int32, Int64, UInt64
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.rank_settings import FusionSettings
from shardrank.core.schemas import HITS
from shardrank.core.topk import number_ids, pack, ranks, run_starts, runs, top_order

#: ranx's: a smaller difference or deviation does not divide.
LEAST = 1e-9


def fuse(lists: Sequence[pa.Table], how: FusionSettings, k: int) -> pa.Table:
    """The k best documents of each query over all lists, with their fused scores.

    A document's passage, part and row are those of the list in which it ranks best, the earlier
    list where ranks are equal.

    Args:
        lists: a table for each retriever, as `fold_and_cut` returns it: schema HITS, in the total
            order, a document once for each query. Queries may have hits in some lists only.
        how: the settings; a single list is fused like several.
        k: documents kept for each query, at least 1.

    Returns:
        Schema HITS, in the total order.

    Raises:
        SettingsError: there are not as many weights as lists.
        InputError: scores are to be scaled, and one of them is not finite.
    """
    weights = _weights(how, len(lists))
    return pa.concat_tables([_fuse_run(run, weights, how, k) for run in runs(lists)])


def _weights(how: FusionSettings, lists: int) -> Float64:
    """float64[lists]"""
    if how.weights is not None and len(how.weights) != lists:
        raise SettingsError(
            f"fusion.weights has {len(how.weights)} weights for {lists} retrievers.",
            "Give one for each, in the order of the retrievers.",
        )
    return np.ones(lists) if how.weights is None else np.array(how.weights, np.float64)


def _fuse_run(lists: Sequence[pa.Table], weights: Float64, how: FusionSettings, k: int) -> pa.Table:
    """`fuse` for so many queries that all their hits are put in order at once."""
    hits = pa.concat_tables([HITS.empty_table(), *lists])
    query, passage, part, row = (
        hits[name].to_numpy() for name in ("query", "passage", "part", "row")
    )
    doc, ids = number_ids(hits["doc_id"])
    source = np.repeat(np.arange(len(lists), dtype=np.int32), [len(hits) for hits in lists])
    rank = np.concatenate([np.empty(0, np.int32), *map(ranks, lists)])
    terms = weights[source] * _terms(hits, rank, run_starts(pack(source, query)), how)
    best, total = _fold(pack(query, doc), rank, source, terms)
    score = total.astype(np.float32)
    kept = top_order(query[best], doc[best], passage[best], score, k)
    best = best[kept]
    numbers = [passage[best], score[kept], part[best], row[best]]
    return pa.Table.from_arrays(
        [pa.array(query[best]), ids.take(pa.array(doc[best])), *map(pa.array, numbers)],
        schema=HITS,
    )


def _fold(document: UInt64, rank: Int32, source: Int32, terms: Float64) -> tuple[Int64, Float64]:
    """For each distinct document, ascending: its hit of the best rank, and the sum of its terms.

    Args:
        document: uint64[n], the query and the document.
        rank: int32[n], in the list.
        source: int32[n], the list.
        terms: float64[n].

    Returns:
        int64[d], float64[d].
    """
    order = np.lexsort((source, rank, document))
    starts = run_starts(document[order])
    ascending = terms[np.lexsort((terms, document))]
    return order[starts], np.add.reduceat(ascending, starts) + 0.0  # -0.0 becomes 0.0


def _terms(hits: pa.Table, rank: Int32, starts: Int64, how: FusionSettings) -> Float64:
    """float64[n]: what each hit adds before its weight; `starts` are those of a list's queries."""
    if how.how == "rrf":
        return 1 / (how.rank_constant + rank.astype(np.float64))
    score = hits["score"].to_numpy().astype(np.float64)
    wrong = np.count_nonzero(~np.isfinite(score))
    if wrong:
        raise InputError(
            f"{wrong} of {len(score)} scores are not finite, so they cannot be put on one scale.",
            "Fuse by ranks instead: fusion.how = rrf.",
        )
    return (_min_max if how.norm == "min-max" else _z)(score, starts)


def _min_max(score: Float64, starts: Int64) -> Float64:
    """float64[n] from 0 to 1 in each run."""
    counts = np.diff(np.append(starts, len(score)))
    low: Float64 = np.minimum.reduceat(score, starts)
    spread: Float64 = np.maximum(np.maximum.reduceat(score, starts) - low, LEAST)
    return (score - np.repeat(low, counts)) / np.repeat(spread, counts)


def _z(score: Float64, starts: Int64) -> Float64:
    """float64[n] of mean 0 and deviation 1 in each run; the deviation is that of the n hits."""
    counts = np.diff(np.append(starts, len(score)))
    off = score - np.repeat(np.add.reduceat(score, starts) / counts, counts)
    variance: Float64 = np.add.reduceat(off * off, starts) / counts
    deviation: Float64 = np.maximum(np.sqrt(variance), LEAST)
    return off / np.repeat(deviation, counts)
