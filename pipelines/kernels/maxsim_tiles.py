"""The innermost loops of MaxSim in machine code: products of some tokens of a passage with those of
a query, of which only the largest are kept."""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from shardrank.kernels.compiled import written
from shardrank.kernels.machine import has_wide_vectors
from shardrank.kernels.vectors import (
    FLOAT,
    LANES,
    WORD,
    data,
    filled,
    fused,
    larger,
    load,
    spread,
    store,
)

#: Tokens of a passage in a tile: their products with two vectors of a query's tokens, and what they
#: are made of, fit into the 32 registers of AVX-512, or the 16 of AVX2.
HEIGHT = 12 if has_wide_vectors() else 6

#: Tokens of a query in a tile of two vectors.
PAIR = 2 * LANES


def _tile(vectors: int) -> Any:
    """The function for tiles of so many vectors of a query's tokens."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        arrays = (data(context, builder, signature, given, n) for n in (0, 2, 5, 6))
        (passage, query, best, ahead), (_, row, _, column, depth, _, _, after) = arrays, given
        begins = _Begins(
            passage=_rows(builder, passage, row, depth),
            query=builder.gep(query, [column]),
            ahead=builder.bitcast(builder.gep(ahead, [after]), _BYTES),
            ahead_step=HEIGHT * signature.args[6].dtype.bitwidth // 8,
        )
        _keep(builder, _products(builder, begins, depth, vectors), best)
        return context.get_dummy_value()

    def typed(  # numba reads the names
        typing: Any,
        passage: Any,
        row: Any,
        query: Any,
        column: Any,
        depth: Any,
        best: Any,
        ahead: Any,
        after: Any,
    ) -> Any:
        from numba.core import types  # `compiled` must import numba first

        size = types.int64
        return types.void(passage, size, query, size, size, best, ahead, size), write

    return written(typed)


#: best[i] becomes at least passage[row + j · depth :][:depth] · q_i, of j < HEIGHT and the tokens i
#: of a query in one vector, or two, of n lanes together; component k of q_i is query[column + k · n
#: + i]. Products are added in the order of k, without a rounding between. best[n + i] stays 0 until
#: one is not finite, and is NaN from then on. Meanwhile as many numbers of `ahead`, from `after`
#: on, come nearer as the tile has of the passage. All are flat arrays, of float32 but for `ahead`.
tile_of_one, tile_of_two = _tile(1), _tile(2)

_BYTES = ir.IntType(8).as_pointer()


@dataclass(frozen=True)
class _Begins:
    """Where a tile's numbers begin.

    Attributes:
        passage: each row.
        query: the first vector.
        ahead: what shall come nearer.
        ahead_step: bytes of it while one component is worked on.
    """

    passage: list[Any]
    query: Any
    ahead: Any
    ahead_step: int


def _rows(builder: Any, passage: Any, row: Any, depth: Any) -> list[Any]:
    places = [builder.add(row, builder.mul(depth, depth.type(j))) for j in range(HEIGHT)]
    return [builder.gep(passage, [place]) for place in places]


def _products(builder: Any, begins: _Begins, depth: Any, vectors: int) -> list[list[Any]]:
    """The sums of each row, a vector after the other."""
    from numba.core import cgutils  # `compiled` must import numba first

    sums = [[_zeros(builder) for _ in range(vectors)] for _ in begins.passage]
    with cgutils.for_range(builder, depth) as loop:
        _fetch(builder, begins, loop.index)
        first = builder.mul(loop.index, depth.type(LANES * vectors))
        places = (builder.add(first, first.type(LANES * n)) for n in range(vectors))
        theirs = [load(builder, builder.gep(begins.query, [place])) for place in places]
        for row, own in zip(begins.passage, sums, strict=True):
            number = spread(builder, builder.load(builder.gep(row, [loop.index])))
            for other, total in zip(theirs, own, strict=True):
                builder.store(fused(builder, number, other, builder.load(total)), total)
    return [[builder.load(total) for total in own] for own in sums]


def _zeros(builder: Any) -> Any:
    """Where a vector of sums stands, which LLVM makes a register of."""
    from numba.core import cgutils  # `compiled` must import numba first

    return cgutils.alloca_once_value(builder, filled(0))  # type: ignore[no-untyped-call]


def _fetch(builder: Any, begins: _Begins, component: Any) -> None:
    """One by one, since a core waits for few lines of its cache at a time."""
    from numba.core import cgutils  # `compiled` must import numba first

    kind = ir.FunctionType(ir.VoidType(), [_BYTES, WORD, WORD, WORD])
    asked = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, "llvm.prefetch.p0i8"
    )
    far = builder.mul(component, component.type(begins.ahead_step))
    place = builder.gep(begins.ahead, [far])
    builder.call(asked, [place, WORD(0), WORD(3), WORD(1)])


def _keep(builder: Any, sums: list[list[Any]], best: Any) -> None:
    """The largest of all rows and those before; and whether each was a finite number."""
    vectors = len(sums[0])
    for n in range(vectors):
        mine = [own[n] for own in sums]
        most, lost = (builder.gep(best, [WORD(LANES * m)]) for m in (n, vectors + n))
        store(builder, _together(builder, [load(builder, most), *mine], larger), most)
        # What is not finite is none when it is multiplied by 0; a comparison would pass over it.
        broken = [builder.fmul(total, filled(0)) for total in mine]
        store(builder, _together(builder, [load(builder, lost), *broken], _added), lost)


def _together(builder: Any, values: list[Any], combine: Any) -> Any:
    """One value of many, neighbours first."""
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        values = [combine(builder, *pair) for pair in pairs] + values[len(values) // 2 * 2 :]
    return values[0]


def _added(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b)


@written
def widen(typing: Any, halves: Any, at: Any, count: Any, out: Any) -> Any:
    """Flat float32 out[i] = the fp16 number whose bits are uint16 halves[at + i], of i < count."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(halves, types.int64, types.int64, out), _write_widen


def _write_widen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    halves, out = (data(context, builder, signature, given, n) for n in (0, 3))
    _, at, count, _ = given
    begin, whole = builder.gep(halves, [at]), builder.and_(count, count.type(-LANES))
    for lanes, first, end in ((LANES, count.type(0), whole), (1, whole, count)):
        kind = ir.VectorType(ir.HalfType(), lanes)
        with cgutils.for_range_slice(builder, first, end, count.type(lanes)) as (i, _):
            place = builder.bitcast(builder.gep(begin, [i]), kind.as_pointer())
            wide = builder.fpext(builder.load(place, align=2), ir.VectorType(FLOAT, lanes))
            store(builder, wide, builder.gep(out, [i]))
    return context.get_dummy_value()
