"""What stands between products of float32, as machine code: one way through memory where torch
would take several."""

from typing import Any

import numpy as np
from llvmlite import ir

from shardrank.core.arrays import Float32
from shardrank.kernels.compiled import compiled, compiled_sum, written
from shardrank.kernels.gelu_loops import bend_sums
from shardrank.kernels.int8_loops import Affine
from shardrank.kernels.vectors import FLOAT, LANES, data, fused, load, picked, store


@compiled
def bend_floats(x: Float32, bias: Float32) -> None:
    """x + bias becomes its GELU, in place: float32[n, m] and float32[m]."""
    flat, size = x.reshape(x.size), x.shape[1]
    for number in range(len(x)):
        bend_sums(flat, number * size, bias, size)


@compiled
def gate_floats(x: Float32, bias: Float32, out: Float32) -> None:
    """GELU of the first half of each row of x + bias, times the second half (Shazeer 2020,
    arXiv:2002.05202).

    Args:
        x: float32[n, 2 · h], overwritten.
        bias: float32[2 · h].
        out: float32[n, h], filled.
    """
    half = out.shape[1]
    flat = x.reshape(x.size)
    for number in range(len(x)):
        row, found = x[number], out[number]
        bend_sums(flat, number * 2 * half, bias, half)
        for i in range(half):
            found[i] = row[i] * (row[half + i] + bias[half + i])


@compiled_sum
def norm_floats(x: Float32, bias: Float32, stream: Float32, norm: Affine) -> None:
    """x + bias + stream becomes its layer normalisation, in place.

    Args:
        x, stream: float32[n, m].
        bias: float32[m].
        norm: the weight float32[m], the bias float32[m] and the epsilon of the normalisation
            (Ba et al. 2016, arXiv:1607.06450).
    """
    weight, shift, epsilon = norm
    size = np.float32(x.shape[1])
    for number in range(len(x)):
        mine, before, total, squares = x[number], stream[number], np.float32(0), np.float32(0)
        for i in range(len(mine)):
            mine[i] = mine[i] + bias[i] + before[i]
            total += mine[i]
        mean = total / size
        for i in range(len(mine)):
            mine[i] -= mean
            squares += mine[i] * mine[i]
        factor = np.float32(1 / np.sqrt(squares / size + epsilon))
        for i in range(len(mine)):
            mine[i] = mine[i] * factor * weight[i] + shift[i]


@compiled
def turn_floats(x: Float32, heads: int, cosines: Float32, sines: Float32) -> None:
    """Turn the planes of the first heads of each token, in place: neighbours (a, b) become
    (a · cos - b · sin, a · sin + b · cos).

    Args:
        x: float32[t, n, w], contiguous.
        heads: of the n, how many are turned.
        cosines, sines: float32[t, w], contiguous: of each token's turns, for each of both numbers,
            and the sine of a's place less than nothing.
    """
    tokens, count, width = x.shape
    flat, c, s = x.reshape(x.size), cosines.reshape(cosines.size), sines.reshape(sines.size)
    for token in range(tokens):
        for head in range(heads):
            _turn(flat, (token * count + head) * width, c, s, token * width, width)


@written
def _turn(typing: Any, x: Any, at: Any, cosines: Any, sines: Any, place: Any, count: Any) -> Any:
    """`turn_floats` of x[at : at + count], by the turns from `place` on; all flat."""
    from numba.core import types  # `compiled` must import numba first

    size = types.int64
    return types.void(x, size, cosines, sines, size, size), _write_turn


def _write_turn(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    x, cosines, sines = (data(context, builder, signature, given, n) for n in (0, 2, 3))
    _, at, _, _, place, count = given
    x, cosines, sines = (
        builder.gep(each, [first]) for each, first in ((x, at), (cosines, place), (sines, place))
    )
    begin = count.type(0)
    for lanes in (LANES, 2):
        kind, end = ir.VectorType(FLOAT, lanes), builder.and_(count, count.type(-lanes))
        with cgutils.for_range_slice(builder, begin, end, count.type(lanes)) as (i, _):
            own = builder.gep(x, [i])
            c, s = (load(builder, builder.gep(each, [i]), kind) for each in (cosines, sines))
            mine = load(builder, own, kind)
            other = picked(builder, mine, mine, [lane ^ 1 for lane in range(lanes)])
            store(builder, fused(builder, mine, c, builder.fmul(other, s)), own)
        begin = end
    return context.get_dummy_value()
