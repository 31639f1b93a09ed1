"""Scores of pairs of a query and a passage by the terms that both have: exact-term matching.

Of counted words and of vocabularies' terms alike: s(q, p) = Σ over t in q and p of w_q(t) · w_p(t)
(Zhuang & Zuccon 2021, arXiv:2108.08513; Lin & Ma 2021, arXiv:2106.14807).
"""

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.sparse import SparseRows
from shardrank.index.bm25 import Bm25
from shardrank.kernels.product_loops import Terms, multiply_pairs


def term_scores(
    queries: SparseRows, passages: SparseRows, left: Int32 | Int64, right: Int32 | Int64
) -> Float32:
    """float32[m]: the inner product of each pair (queries[left[i]], passages[right[i]]); 0 where no
    term is in both.

    A pair has the bits that an inverted index gives it (`InvertedShard.search`), in any batch and
    order.

    Args:
        queries, passages: of any terms.
        left, right: int[m].
    """
    scores = np.empty(len(left), np.float32)
    asked, held = (np.ascontiguousarray(each, np.int64) for each in (left, right))
    multiply_pairs(_terms(queries), _terms(passages), asked, held, scores)
    return scores


def terms_of_column(
    queries: SparseRows,
    column: pa.ChunkedArray,
    rule: Bm25 | None,
    left: Int32 | Int64,
    rows: Int32 | Int64,
) -> Float32:
    """As `term_scores`, of pairs (queries[left[i]], column[rows[i]]).

    Args:
        queries: of any number; of counted words each weighted by how rare it is.
        column: List<Struct<term, weight>>.
        rule: what weights the column's counts; none: it holds weights.
        left, rows: int[m].

    Raises:
        IntegrityError: a row's terms do not ascend.
    """
    passages = SparseRows.of(column)
    return term_scores(queries, rule.weighed(passages) if rule else passages, left, rows)


def _terms(rows: SparseRows) -> Terms:
    return Terms(
        np.ascontiguousarray(rows.ends, np.int64),
        np.ascontiguousarray(rows.terms, np.uint64),
        np.ascontiguousarray(rows.weights, np.float32),
    )
