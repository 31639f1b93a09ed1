"""MaxSim of pairs of a query and a passage of many vectors (Khattab & Zaharia 2020, ColBERT,
arXiv:2004.12832, equation 3)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Union

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.token_vectors import TokenVectors, one_array, row_ends
from shardrank.kernels.machine import widens_halves
from shardrank.kernels.maxsim_loops import (
    Asked,
    Pairs,
    lay_queries,
    score_codes,
    score_floats,
    score_halves,
)
from shardrank.kernels.residual_codes import Bytes, ResidualCodec, token_bytes

#: Components of the queries that are laid out at once, about: 64 MiB of float32.
_LAID = 1 << 24

#: Components of halves that are widened at once, about: 256 MiB.
_WIDENED = 1 << 26

#: A vector for each token of some texts; and of passages, whose vectors may be in codes.
Tokens = Union[TokenVectors, "StoredTokens"]
Passages = Union[Tokens, "CodedTokens"]


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
            IntegrityError: it is of another type, or a value is null.
        """
        array = _lists(column, pa.types.is_fixed_size_list, "token vectors")
        flat = array.flatten().flatten().to_numpy()
        width = array.type.value_type.list_size
        return cls(row_ends(array), flat.reshape(-1, width))


@dataclass(frozen=True, eq=False)
class CodedTokens:
    """Token vectors in codes, each of which is decoded when it is compared.

    Attributes:
        ends: int64[n + 1].
        tokens: uint8[t, width].
        codec: what they are of.
    """

    ends: Int64
    tokens: Bytes
    codec: ResidualCodec

    @classmethod
    def of(cls, column: pa.Array | pa.ChunkedArray, codec: bytes) -> "CodedTokens":
        """Of a column List<FixedSizeBinary[width]>, not copied where it is one chunk.

        Raises:
            IntegrityError: it is of another type, or a value is null.
        """
        array = _lists(column, pa.types.is_fixed_size_binary, "codes of token vectors")
        return cls(row_ends(array), token_bytes(array), ResidualCodec.of(codec))


def _lists(
    column: pa.Array | pa.ChunkedArray, holds: Callable[[pa.DataType], bool], what: str
) -> pa.Array:
    """One array of lists of such values."""
    array = one_array(column)
    kind = array.type
    if not (pa.types.is_list(kind) and holds(kind.value_type)):
        raise IntegrityError(
            f"A column of type {kind} holds no {what}.",
            "Its file was not written by shardrank: index again.",
        )
    return array


def maxsim_scores(
    queries: Tokens, passages: Passages, left: Int32 | Int64, right: Int32 | Int64
) -> Float32:
    """float32[m]: of each pair (queries[left[i]], passages[right[i]]) the sum, over the query's
    tokens, of the largest inner product with a token of the passage.

    Inner products are added up in float32 in the order of the components, without a rounding
    between, and the largest ones in float64 in the order of the query's tokens. So a pair has the
    same bits in any batch and order. There is no score, but NaN, of a pair of which one has no
    token, or a product is not finite.

    Args:
        queries, passages: each is read, and widened or decoded, once for all pairs of it that are
            near.
        left, right: int[m].

    Raises:
        InputError: the components of queries and passages are not equally many.
        IntegrityError: codes are not of their codec.
    """
    _refuse_widths(queries, passages)
    scores = np.full(len(left), np.nan, np.float32)
    if not queries.vectors.size or not passages.ends[-1]:
        return scores
    asked, place = np.unique(left.astype(np.int64), return_inverse=True)
    for begin, end in _blocks(queries, asked):
        mine = np.flatnonzero((place >= begin) & (place < end))
        order = mine[np.lexsort((place[mine], right[mine]))]
        pairs = Pairs(place[order] - begin, right[order].astype(np.int64))
        scores[order] = _scored(_laid(queries, asked[begin:end]), passages, pairs)
    return scores


def maxsim_of_column(
    queries: Tokens,
    column: pa.ChunkedArray,
    codec: bytes | None,
    left: Int32 | Int64,
    rows: Int32 | Int64,
) -> Float32:
    """As `maxsim_scores`, of pairs (queries[left[i]], column[rows[i]]).

    Args:
        queries: of any number.
        column: List<FixedSizeList<fp16 or fp32>[d]> or List<FixedSizeBinary[width]>.
        codec: what the column's codes are of; none: it holds vectors.
        left, rows: int[m].

    Raises:
        InputError: as there.
        IntegrityError: the column holds no token vectors, or not codes of this codec.
    """
    held = CodedTokens.of(column, codec) if codec is not None else StoredTokens.of(column)
    return maxsim_scores(queries, held, left, rows)


def _width(passages: Passages) -> int:
    """Components of a token's vector."""
    if isinstance(passages, CodedTokens):
        return passages.codec.dim
    width: int = passages.vectors.shape[1]
    return width


def _refuse_widths(queries: Tokens, passages: Passages) -> None:
    asked, held = queries.vectors.shape[1], _width(passages)
    if asked != held:
        raise InputError(
            f"The queries' token vectors have {asked} components, and the passages' {held}.",
            "Encode the queries by the encoder that made the column.",
        )


def _blocks(queries: Tokens, asked: Int64) -> Iterator[tuple[int, int]]:
    """Neighbours among the queries that are asked, from which to which, that are laid out at
    once."""
    sizes = queries.ends[asked + 1] - queries.ends[asked]
    return _spans(sizes * queries.vectors.shape[1], _LAID)


def _spans(sizes: Int64, most: int) -> Iterator[tuple[int, int]]:
    """Neighbours whose sizes are at most so much together, or one that is more."""
    ends, begin = np.cumsum(sizes), 0
    while begin < len(sizes):
        before = ends[begin] - sizes[begin]
        end = max(begin + 1, int(np.searchsorted(ends, before + most, "right")))
        yield begin, end
        begin = end


def _laid(queries: Tokens, asked: Int64) -> Asked:
    begins, width = queries.ends[asked], queries.vectors.shape[1]
    flat = np.ascontiguousarray(queries.vectors, np.float32).reshape(-1)
    return lay_queries(flat, begins, queries.ends[asked + 1] - begins, width)


def _scored(asked: Asked, passages: Passages, pairs: Pairs) -> Float32:
    """Of pairs passage after passage."""
    out = np.empty(len(pairs.left), np.float32)
    if isinstance(passages, CodedTokens):
        coded = passages.codec.coded(passages.tokens)
        passages.codec.refuse(score_codes(asked, coded, passages.ends, pairs, out))
        return out
    flat = np.ascontiguousarray(passages.vectors).reshape(-1)
    if flat.dtype != np.float16:
        score_floats(asked, flat, passages.ends, pairs, out)
    elif widens_halves():
        score_halves(asked, flat.view(np.uint16), passages.ends, pairs, out)
    else:
        _score_widened(asked, flat, passages.ends, pairs, out)
    return out


def _score_widened(
    asked: Asked, halves: npt.NDArray[np.float16], ends: Int64, pairs: Pairs, out: Float32
) -> None:
    """As `score_halves`, where the CPU does not widen: some passages at a time are, which have
    pairs."""
    wanted, place = np.unique(pairs.right, return_inverse=True)
    sizes = ends[wanted + 1] - ends[wanted]
    for begin, end in _spans(sizes * asked.depth, _WIDENED):
        mine = slice(*np.searchsorted(place, [begin, end]))
        rows = [halves[slice(*ends[row : row + 2] * asked.depth)] for row in wanted[begin:end]]
        wide = np.concatenate(rows).astype(np.float32)
        held = np.concatenate([[0], np.cumsum(sizes[begin:end])])
        score_floats(asked, wide, held, Pairs(pairs.left[mine], place[mine] - begin), out[mine])
