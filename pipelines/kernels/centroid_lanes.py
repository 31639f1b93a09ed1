"""The innermost loop of late interaction by centroids, in machine code: the largest products of a
passage's centroids with WIDTH tokens of a query, in one register or two."""

from typing import Any

from llvmlite import ir

from shardrank.kernels.compiled import written
from shardrank.kernels.vectors import WORD, data, load

#: Tokens of a query that stand side by side.
WIDTH = 32

_PRODUCTS = ir.VectorType(ir.IntType(16), WIDTH)
_SUMS = ir.VectorType(WORD, WIDTH)


@written
def largest_products(
    typing: Any, near: Any, width: Any, column: Any, centroids: Any, begin: Any, end: Any
) -> Any:
    """The sum, over WIDTH columns from `column` on, of the largest number that int16[k, width]
    `near`, flat, has there in the rows `centroids[begin:end]`, int32, of which there is one at
    least."""
    from numba.core import types  # `compiled` must import numba first

    size = types.int64
    return types.int64(near, size, size, centroids, size, size), _write_largest


def _write_largest(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    near, centroids = (data(context, builder, signature, given, n) for n in (0, 3))
    _, width, column, _, begin, end = given
    lowest = ir.Constant(_PRODUCTS, [-(1 << 15)] * WIDTH)
    most = cgutils.alloca_once_value(builder, lowest)  # type: ignore[no-untyped-call]
    with cgutils.for_range_slice(builder, begin, end, begin.type(1)) as (place, _):
        row = builder.zext(builder.load(builder.gep(centroids, [place])), width.type)
        at = builder.add(builder.mul(row, width), column)
        mine, before = load(builder, builder.gep(near, [at]), _PRODUCTS, 2), builder.load(most)
        larger = builder.icmp_signed(">", mine, before)
        builder.store(builder.select(larger, mine, before), most)
    kind = ir.FunctionType(WORD, [_SUMS])
    added = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, "llvm.vector.reduce.add.v32i32"
    )
    total = builder.call(added, [builder.sext(builder.load(most), _SUMS)])
    return builder.sext(total, width.type)
