"""Products of small float32 matrices whose sums stay in vector registers, in machine code."""

from typing import Any, NamedTuple

from shardrank.core.arrays import Float32
from shardrank.kernels.compiled import compiled_bare, written
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


class Rows(NamedTuple):
    """Rows in a flat array: where the first begins, and how far it is to the next."""

    at: int
    step: int


@compiled_bare
def multiply_tile(
    left: Float32,
    lefts: Rows,
    right: Float32,
    rights: Rows,
    depth: int,
    vectors: int,
    out: Float32,
    outs: Rows,
    begun: bool,
) -> None:
    """out[i, j] = Σ_k left[i, k] · right[k, j], of ROWS rows i, vectors · LANES columns j, and
    k < depth, in this order, each product added without a rounding between; where sums are begun,
    to what out holds.

    All are flat arrays, of which `lefts`, `rights` and `outs` say where their rows lie. There are
    at most COLUMNS columns.
    """
    row, step, column, stride = lefts.at, lefts.step, rights.at, rights.step
    if vectors == 4:
        _four(left, row, step, right, column, stride, depth, out, outs.at, outs.step, begun)
    elif vectors == 3:
        _three(left, row, step, right, column, stride, depth, out, outs.at, outs.step, begun)
    elif vectors == 2:
        _two(left, row, step, right, column, stride, depth, out, outs.at, outs.step, begun)
    else:
        _one(left, row, step, right, column, stride, depth, out, outs.at, outs.step, begun)


def _tile(vectors: int) -> Any:
    """`multiply_tile` of so many vectors."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        from numba.core import cgutils  # `compiled` must import numba first

        left, right, out = (data(context, builder, signature, given, n) for n in (0, 3, 7))
        _, row, step, _, column, stride, depth, _, place, width, begun = given
        rows, outs = row_starts(builder, left, row, step), row_starts(builder, out, place, width)
        sums = [*zip(*(held(builder, 0) for _ in range(vectors)), strict=True)]
        with builder.if_then(begun):
            for mine, own in zip(outs, sums, strict=True):
                for n, total in enumerate(own):
                    spot = builder.gep(mine, [width.type(LANES * n)])
                    builder.store(load(builder, spot), total)
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
        for mine, own in zip(outs, sums, strict=True):
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
        begun: Any,
    ) -> Any:
        from numba.core import types  # `compiled` must import numba first

        size = types.int64
        return types.void(
            left, size, size, right, size, size, size, out, size, size, types.boolean
        ), write

    return written(typed)


_one, _two, _three, _four = (_tile(vectors) for vectors in range(1, 5))
