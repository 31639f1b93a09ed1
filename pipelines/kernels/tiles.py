"""Products of small float32 matrices whose sums stay in vector registers, in machine code."""

from typing import Any

from shardrank.core.arrays import Float32
from shardrank.kernels.compiled import compiled, written
from shardrank.kernels.machine import has_wide_vectors
from shardrank.kernels.vectors import (
    LANES,
    data,
    fused,
    held,
    load,
    row_starts,
    spread,
    store,
)

#: Vectors of a tile's row: with the rows' numbers they fit into the 32 registers of AVX-512, or the
#: 16 of AVX2.
_VECTORS = 4 if has_wide_vectors() else 2

#: The most columns of a tile, which has ROWS rows.
COLUMNS = LANES * _VECTORS


@compiled
def multiply_tile(
    left: Float32,
    row: int,
    step: int,
    right: Float32,
    column: int,
    stride: int,
    depth: int,
    vectors: int,
    out: Float32,
    place: int,
    width: int,
) -> None:
    """out[place + i · width + j] = Σ_k left[row + i · step + k] · right[column + k · stride + j].

    Of i < ROWS, j < vectors · LANES ≤ COLUMNS and k < depth, in the order of k, each product added
    without a rounding between. All arrays are flat.
    """
    if vectors == 4:
        _four(left, row, step, right, column, stride, depth, out, place, width)
    elif vectors == 3:
        _three(left, row, step, right, column, stride, depth, out, place, width)
    elif vectors == 2:
        _two(left, row, step, right, column, stride, depth, out, place, width)
    else:
        _one(left, row, step, right, column, stride, depth, out, place, width)


def _tile(vectors: int) -> Any:
    """`multiply_tile` of so many vectors."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        from numba.core import cgutils  # `compiled` must import numba first

        left, right, out = (data(context, builder, signature, given, n) for n in (0, 3, 7))
        _, row, step, _, column, stride, depth, _, place, width = given
        rows = row_starts(builder, left, row, step)
        sums = [*zip(*(held(builder, 0) for _ in range(vectors)), strict=True)]
        with cgutils.for_range(builder, depth) as loop:
            first = builder.add(column, builder.mul(loop.index, stride))
            theirs = [
                load(builder, builder.gep(right, [builder.add(first, first.type(LANES * n))]))
                for n in range(vectors)
            ]
            for mine, own in zip(rows, sums, strict=True):
                number = spread(builder, builder.load(builder.gep(mine, [loop.index])))
                for other, total in zip(theirs, own, strict=True):
                    builder.store(fused(builder, number, other, builder.load(total)), total)
        for mine, own in zip(row_starts(builder, out, place, width), sums, strict=True):
            for n, total in enumerate(own):
                store(builder, builder.load(total), builder.gep(mine, [width.type(LANES * n)]))
        return context.get_dummy_value()

    def typed(  # numba reads the names
        typing: Any,
        left: Any,
        row: Any,
        step: Any,
        right: Any,
        column: Any,
        stride: Any,
        depth: Any,
        out: Any,
        place: Any,
        width: Any,
    ) -> Any:
        from numba.core import types  # `compiled` must import numba first

        size = types.int64
        return types.void(left, size, size, right, size, size, size, out, size, size), write

    return written(typed)


_one, _two, _three, _four = (_tile(vectors) for vectors in range(1, 5))
