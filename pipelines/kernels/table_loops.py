"""The loop of `static_table.py`, as machine code."""

from typing import Any

import numpy as np
from llvmlite import ir

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.kernels.compiled import compiled, written

#: Columns whose sums stay in registers while a text's tokens pass: numba itself would store and
#: load them for each token, which takes 1.7 times as long.
_COLUMNS = 64


@compiled
def add_means(table: Float32, ids: Int32, ends: Int64, out: Float32) -> None:
    """Add to every row of `out` the mean of its tokens' vectors; none: nothing.

    Args:
        table: float32[v, d].
        ids: int32[t], the tokens of all texts, each less than v.
        ends: int64[n], where each text's tokens end.
        out: float32[n, d], zeros.
    """
    begin, width = 0, table.shape[1]
    whole = width // _COLUMNS * _COLUMNS
    for number in range(len(ends)):
        end = ends[number]
        for column in range(0, whole, _COLUMNS):
            _add_columns(table, ids, begin, end, column, out, number)
        for at in range(begin, end):
            for column in range(whole, width):
                out[number, column] += table[ids[at], column]
        count = np.float32(max(end - begin, 1))
        for column in range(width):
            out[number, column] /= count
        begin = end


@written
def _add_columns(
    typing: Any, table: Any, ids: Any, begin: Any, end: Any, column: Any, out: Any, number: Any
) -> Any:
    """Add columns [column : column + _COLUMNS] of the rows ids[begin : end] to those of a row of
    `out`; both tables are contiguous and equally wide.
    """
    from numba.core import types  # `compiled` must import numba first

    whole = types.int64
    contiguous = table.layout == out.layout == "C"
    asked = types.void(table, ids, whole, whole, whole, out, whole)
    return (asked, _write_add_columns) if contiguous else None


def _write_add_columns(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    table, ids, out = (
        context.make_array(signature.args[n])(context, builder, given[n]) for n in (0, 1, 5)
    )
    begin, end, column, number = (given[n] for n in (2, 3, 4, 6))
    width = builder.extract_value(table.shape, 1)
    kind = ir.VectorType(ir.FloatType(), _COLUMNS)

    def place(data: Any, row: Any) -> Any:
        at = builder.add(builder.mul(row, width), column)
        return builder.bitcast(builder.gep(data, [at]), kind.as_pointer())

    target = place(out.data, number)
    sums = cgutils.alloca_once_value(builder, builder.load(target, align=4))  # type: ignore[no-untyped-call]
    with cgutils.for_range_slice(builder, begin, end, begin.type(1)) as (at, _):
        row = builder.zext(builder.load(builder.gep(ids.data, [at])), begin.type)
        added = builder.load(place(table.data, row), align=4)
        builder.store(builder.fadd(builder.load(sums), added), sums)
    builder.store(builder.load(sums), target, align=4)
    return context.get_dummy_value()
