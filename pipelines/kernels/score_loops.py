"""Scores of pairs of vectors, as machine code, summed in the order of numpy's `add.reduce`."""

from typing import Any

import numpy as np
from llvmlite import ir

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.kernels.compiled import compiled, compiled_bare, written

#: Sums that numpy keeps side by side, and the most components that it sums without halving them.
_LANES, _HALVED = 8, 128


@compiled
def score_pairs(
    queries: Float32,
    query: Int32 | Int64,
    vectors: Float32,
    rows: Int32 | Int64,
    plan: Int64,
    out: Float32,
) -> None:
    """As `pairs.pair_scores`, of flat arrays of vectors, by their plan, into out: float32[m]."""
    size, sums = plan[-1, 0], np.empty(len(plan) + 1, np.float32)
    for number in range(len(rows)):
        left, right = query[number] * size, rows[number] * size
        out[number] = score_pair(queries, left, vectors, right, plan, sums)


@compiled_bare
def score_pair(
    left: Float32, at: int, right: Float32, other: int, plan: Int64, sums: Float32
) -> float:
    """The score of the vectors that begin at these places; of no components 0, and never -0.

    Args:
        plan: of the number of components; see `summation`.
        sums: float32[pieces + 1], room for what is not added up yet.
    """
    begin, height = 0, 0
    for piece in range(len(plan)):
        end = plan[piece, 0]
        whole = end - (end - begin) % _LANES
        total = _eights(left, at + begin, right, other + begin, whole - begin)
        for i in range(whole, end):
            total += left[at + i] * right[other + i]
        for _ in range(plan[piece, 1]):
            height -= 1
            total = sums[height] + total
        sums[height] = total
        height += 1
        begin = end
    score: float = sums[0] + np.float32(0)
    return score


def summation(size: int) -> Int64:
    """int64[pieces, 2]: where each piece of `size` components ends, and how many of the sums before
    are then added to its own: numpy's pairwise summation (`pairwise_sum` in loops_utils.h.src)."""
    return np.array(_pieces(0, size, 0), np.int64)


def _pieces(begin: int, size: int, added: int) -> list[tuple[int, int]]:
    if size <= _HALVED:
        return [(begin + size, added)]
    half = size // 2
    half -= half % _LANES
    return [*_pieces(begin, half, 0), *_pieces(begin + half, size - half, added + 1)]


@written
def _eights(typing: Any, left: Any, at: Any, right: Any, other: Any, size: Any) -> Any:
    """The sum of `size` products, whole eights of them: eight sums, and those added in pairs.

    LLVM may not fuse a product with a sum, which would round once where numpy rounds twice.
    """
    from numba.core import types  # `compiled` must import numba first

    return types.float32(left, at, right, other, size), _write_eights


def _write_eights(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    left, right = (
        builder.gep(context.make_array(signature.args[n])(context, builder, given[n]).data, [at])
        for n, at in ((0, given[1]), (2, given[3]))
    )
    size = given[4]
    kind = ir.VectorType(ir.FloatType(), _LANES)
    zeros = ir.Constant(kind, [-0.0] * _LANES)  # what leaves the first product as it is
    sums = cgutils.alloca_once_value(builder, zeros)  # type: ignore[no-untyped-call]
    with cgutils.for_range_slice(builder, size.type(0), size, size.type(_LANES)) as (at, _):
        pair = [
            builder.load(builder.bitcast(builder.gep(row, [at]), kind.as_pointer()), align=4)
            for row in (left, right)
        ]
        builder.store(builder.fadd(builder.load(sums), builder.fmul(*pair)), sums)
    return _in_pairs(builder, builder.load(sums))


def _in_pairs(builder: Any, sums: Any) -> Any:
    """((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))."""
    lanes = _LANES
    while lanes > 1:
        even, odd = (_every_other(builder, sums, begin, lanes) for begin in (0, 1))
        sums, lanes = builder.fadd(even, odd), lanes // 2
    return builder.extract_element(sums, ir.Constant(ir.IntType(32), 0))


def _every_other(builder: Any, values: Any, begin: int, lanes: int) -> Any:
    kind = ir.VectorType(ir.IntType(32), lanes // 2)
    return builder.shuffle_vector(values, values, ir.Constant(kind, [*range(begin, lanes, 2)]))
