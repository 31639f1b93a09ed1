"""GELU in vectors, as machine code: x · Φ(x) (Hendrycks & Gimpel 2016, arXiv:1606.08415).

Φ(x) - ½ is x times a polynomial of x² up to an edge, and beyond as it is there. A quotient, as of
erf, would take as long as all the rest.
"""

from typing import Any, NamedTuple

from llvmlite import ir

from shardrank.kernels.compiled import written
from shardrank.kernels.vectors import FLOAT, WORD, blocks, data, filled, fused, load, spread, store


class _Curve(NamedTuple):
    """(Φ(x) - ½) / x.

    Attributes:
        edge: of |x|.
        powers: of x² / (edge² / 2) - 1, from the highest down: fitted to GELU by least squares,
            weighted until the largest errors are alike, and ½ at the edge.
    """

    edge: float
    powers: tuple[float, ...]


#: For what is rounded to 8 or 16 bits: GELU is off by 2.3e-6 at most, and by 4e-8 of x above 5.
_SHORT = _Curve(
    5.0,
    (
        -1.044833427e-3,
        3.173748514e-3,
        -4.007933660e-3,
        5.155764237e-3,
        -1.006349009e-2,
        1.688029476e-2,
        -2.366187827e-2,
        3.136503872e-2,
        -4.038664185e-2,
        5.152461537e-2,
        -7.029844338e-2,
        1.413637591e-1,
    ),
)

#: For what stays float32: off by 1.2e-7 of 1 + |x| at most, as float32 itself is.
_WHOLE = _Curve(
    5.5,
    (
        4.336338796e-4,
        -1.278213641e-3,
        1.326897367e-3,
        -1.484699019e-3,
        3.898080528e-3,
        -7.401161166e-3,
        1.065099310e-2,
        -1.481014766e-2,
        2.023923335e-2,
        -2.607877748e-2,
        3.208765690e-2,
        -3.879070512e-2,
        4.773673892e-2,
        -6.417237717e-2,
        1.285519381e-1,
    ),
)


@written
def bend_products(
    typing: Any, products: Any, at: Any, scale: Any, columns: Any, bias: Any, out: Any, to: Any,
    count: Any,
) -> Any:  # fmt: skip
    """out[to + i] = GELU of products[at + i] · (scale · columns[i]) + bias[i], of i < count.

    All flat; products are int32, the others float32.
    """
    from numba.core import types  # `compiled` must import numba first

    size = types.int64
    kinds = (products, size, types.float32, columns, bias, out, size, size)
    return types.void(*kinds), _write_products


def _write_products(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    products, columns, bias, out = (
        data(context, builder, signature, given, n) for n in (0, 3, 4, 5)
    )
    _, at, scale, _, _, _, to, count = given
    products, out = builder.gep(products, [at]), builder.gep(out, [to])
    for lanes, begin, end in blocks(builder, count):
        floats, words = ir.VectorType(FLOAT, lanes), ir.VectorType(WORD, lanes)
        scales = spread(builder, scale, lanes)
        with cgutils.for_range_slice(builder, begin, end, count.type(lanes)) as (i, _):
            whole = builder.sitofp(load(builder, builder.gep(products, [i]), words), floats)
            factor = builder.fmul(scales, load(builder, builder.gep(columns, [i]), floats))
            added = load(builder, builder.gep(bias, [i]), floats)
            found = _bent(builder, fused(builder, whole, factor, added), _SHORT)
            store(builder, found, builder.gep(out, [i]))
    return context.get_dummy_value()


@written
def bend_numbers(typing: Any, x: Any, count: Any) -> Any:
    """Flat float32 x[i] becomes its GELU, of i < count."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(x, types.int64), _write_numbers


def _write_numbers(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    x, count = data(context, builder, signature, given, 0), given[1]
    for lanes, begin, end in blocks(builder, count):
        floats = ir.VectorType(FLOAT, lanes)
        with cgutils.for_range_slice(builder, begin, end, count.type(lanes)) as (i, _):
            place = builder.gep(x, [i])
            store(builder, _bent(builder, load(builder, place, floats), _SHORT), place)
    return context.get_dummy_value()


@written
def bend_sums(typing: Any, x: Any, at: Any, bias: Any, count: Any) -> Any:
    """x[at + i] becomes GELU of x[at + i] + bias[i], of i < count; both flat float32."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(x, types.int64, bias, types.int64), _write_sums


def _write_sums(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    x, bias = (data(context, builder, signature, given, n) for n in (0, 2))
    x, count = builder.gep(x, [given[1]]), given[3]
    for lanes, begin, end in blocks(builder, count):
        floats = ir.VectorType(FLOAT, lanes)
        with cgutils.for_range_slice(builder, begin, end, count.type(lanes)) as (i, _):
            place, added = (builder.gep(array, [i]) for array in (x, bias))
            total = builder.fadd(load(builder, place, floats), load(builder, added, floats))
            store(builder, _bent(builder, total, _WHOLE), place)
    return context.get_dummy_value()


def _bent(builder: Any, x: Any, curve: _Curve) -> Any:
    """GELU of a vector; of NaN it is that."""
    edge, other = filled(curve.edge, x.type), filled(-curve.edge, x.type)
    x = builder.select(builder.fcmp_unordered(">", x, other), x, other)  # below it is nearly 0
    z = builder.select(builder.fcmp_unordered("<", x, edge), x, edge)
    squared = builder.fmul(z, filled(2 / curve.edge**2, x.type))
    place = fused(builder, squared, z, filled(-1, x.type))
    found = filled(curve.powers[0], x.type)
    for number in curve.powers[1:]:
        found = fused(builder, found, place, filled(number, x.type))
    return builder.fmul(x, fused(builder, z, found, filled(0.5, x.type)))
