"""MaxSim of pairs of a query and a passage of many vectors (Khattab & Zaharia 2020, ColBERT,
arXiv:2004.12832, equation 3)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.errors import InputError
from shardrank.core.token_vectors import TokenVectors, one_array, row_ends
from shardrank.kernels.machine import widens_halves
from shardrank.kernels.maxsim_loops import Pairs, lay_queries, score_floats, score_halves

#: Components of the queries that are laid out at once, about: 64 MiB of float32.
_LAID = 1 << 24


@dataclass(frozen=True, eq=False)
class StoredTokens:
    """As `TokenVectors`, in the type in which a column stores them: half the bytes to read.

    Attributes:
        ends: int64[n + 1].
        vectors: float16[t, d] or float32[t, d].
    """

    ends: Int64
    vectors: npt.NDArray[np.floating]

    @classmethod
    def of(cls, column: pa.Array | pa.ChunkedArray) -> "StoredTokens":
        """Of a column List<FixedSizeList<fp16 or fp32>[d]>, not copied where it is one chunk.

        Raises:
            IntegrityError: a value is null.
        """
        array = one_array(column)
        flat = array.flatten().flatten().to_numpy()
        width = array.type.value_type.list_size
        return cls(row_ends(array), flat.reshape(-1, width))


def maxsim_scores(
    queries: TokenVectors,
    passages: TokenVectors | StoredTokens,
    left: Int32 | Int64,
    right: Int32 | Int64,
) -> Float32:
    """float32[m]: of each pair (queries[left[i]], passages[right[i]]) the sum, over the query's
    tokens, of the largest inner product with a token of the passage.

    Inner products are added up in float32 in the order of the components, without a rounding
    between, and the largest ones in float64 in the order of the query's tokens. So a pair has the
    same bits in any batch and order. There is no score, but NaN, of a pair of which one has no
    token, or a product is not finite.

    Args:
        queries, passages: each is widened and read once for all pairs of it that are near.
        left, right: int[m].

    Raises:
        InputError: the components of queries and passages are not equally many.
    """
    _refuse_widths(queries, passages)
    scores = np.full(len(left), np.nan, np.float32)
    if not queries.vectors.size or not passages.vectors.size:
        return scores
    for begin, end in _blocks(queries):
        mine = np.flatnonzero((left >= begin) & (left < end))
        order = mine[np.lexsort((left[mine], right[mine]))]
        bounds = queries.ends[begin : end + 1]
        block = TokenVectors(bounds - bounds[0], queries.vectors[bounds[0] : bounds[-1]])
        scores[order] = _scored(block, passages, left[order] - begin, right[order])
    return scores


def _refuse_widths(queries: TokenVectors, passages: TokenVectors | StoredTokens) -> None:
    asked, held = queries.vectors.shape[1], passages.vectors.shape[1]
    if asked != held:
        raise InputError(
            f"The queries' token vectors have {asked} components, and the passages' {held}.",
            "Encode the queries by the encoder that made the column.",
        )


def _blocks(queries: TokenVectors) -> Iterator[tuple[int, int]]:
    """Neighbouring queries, from which to which, that are laid out at once."""
    sizes = queries.ends[1:] * queries.vectors.shape[1]
    begin = 0
    while begin < queries.rows:
        before = queries.ends[begin] * queries.vectors.shape[1]
        end = max(begin + 1, int(np.searchsorted(sizes, before + _LAID, "right")))
        yield begin, end
        begin = end


def _scored(
    queries: TokenVectors, passages: TokenVectors | StoredTokens, left: Int64, right: Int64
) -> Float32:
    """Of pairs passage after passage."""
    out = np.empty(len(left), np.float32)
    width, flat = queries.vectors.shape[1], np.ascontiguousarray(passages.vectors).reshape(-1)
    asked = lay_queries(np.ascontiguousarray(queries.vectors).reshape(-1), queries.ends, width)
    pairs = Pairs(left.astype(np.int64), right.astype(np.int64))
    if flat.dtype == np.float16 and widens_halves():
        score_halves(asked, flat.view(np.uint16), passages.ends, pairs, out)
    else:
        score_floats(asked, flat.astype(np.float32, copy=False), passages.ends, pairs, out)
    return out
