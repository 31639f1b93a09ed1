"""GELU in vectors, as machine code: x · Φ(x) (Hendrycks & Gimpel 2016, arXiv:1606.08415).

Φ(x) - ½ is x times a polynomial of x² for |x| ≤ 5, and beyond as it is there: GELU is off by 2.3e-6
at most, and by 4e-8 of x above 5. A quotient, as of erf, would take as long as all the rest.
"""

from typing import Any

from llvmlite import ir

from shardrank.kernels.compiled import written
from shardrank.kernels.vectors import FLOAT, WORD, blocks, data, filled, fused, load, spread, store

_EDGE = 5.0
#: Of x² / (_EDGE² / 2) - 1, from the highest power down: fitted to GELU by least squares, weighted
#: until the largest errors are alike, and ½ at the edge.
_POWERS = (
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
            found = _bent(builder, fused(builder, whole, factor, added))
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
            store(builder, _bent(builder, load(builder, place, floats)), place)
    return context.get_dummy_value()


def _bent(builder: Any, x: Any) -> Any:
    """GELU of a vector; of NaN it is that."""
    edge, other = filled(_EDGE, x.type), filled(-_EDGE, x.type)
    x = builder.select(builder.fcmp_unordered(">", x, other), x, other)  # below it is nearly 0
    z = builder.select(builder.fcmp_unordered("<", x, edge), x, edge)
    squared = builder.fmul(z, filled(2 / _EDGE**2, x.type))
    place = fused(builder, squared, z, filled(-1, x.type))
    found = filled(_POWERS[0], x.type)
    for number in _POWERS[1:]:
        found = fused(builder, found, place, filled(number, x.type))
    return builder.fmul(x, fused(builder, z, found, filled(0.5, x.type)))
