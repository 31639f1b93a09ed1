"""What tiles are made of and what becomes of them, in vectors of float32, as machine code."""

from typing import Any

from shardrank.kernels.compiled import written
from shardrank.kernels.vectors import (
    FLOATS,
    LANES,
    ROWS,
    WORD,
    WORDS,
    data,
    filled,
    folded,
    fused,
    held,
    lane_numbers,
    larger,
    load,
    picked,
    row_starts,
    spread,
    spread_word,
    store,
)

#: Of 2^x around 0, from the highest power down: off by 8e-8 of itself at most within a half
#: (fitted by least squares, weighted until the largest errors are alike).
_POWERS = (1.32764707e-3, 9.67554132e-3, 5.55071328e-2, 0.240221197, 0.693146967, 1.0)


@written
def highest(typing: Any, values: Any, at: Any, step: Any, count: Any, out: Any) -> Any:
    """Flat float32 out[i]: the largest of values[at + i · step :][:count], of ROWS rows of whole
    vectors; any where one is no number."""
    from numba.core import types  # `compiled` must import numba first

    size = types.int64
    return types.void(values, size, size, size, out), _write_highest


def _write_highest(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    values, out = (data(context, builder, signature, given, n) for n in (0, 4))
    _, at, step, count, _ = given
    rows, most = row_starts(builder, values, at, step), held(builder, float("-inf"))
    with cgutils.for_range_slice(builder, at.type(0), count, at.type(LANES)) as (place, _):
        for row, found in zip(rows, most, strict=True):
            mine = load(builder, builder.gep(row, [place]))
            builder.store(larger(builder, mine, builder.load(found)), found)
    for i, found in enumerate(most):
        builder.store(folded(builder, builder.load(found), larger), builder.gep(out, [WORD(i)]))
    return context.get_dummy_value()


@written
def hide(typing: Any, values: Any, at: Any, begin: Any, end: Any) -> Any:
    """Flat float32 values[at + begin : at + end] = -inf, in whole vectors from `at` on; what they
    hold besides stays."""
    from numba.core import types  # `compiled` must import numba first

    size = types.int64
    return types.void(values, size, size, size), _write_hide


def _write_hide(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    values, (_, at, begin, end) = data(context, builder, signature, given, 0), given
    lowest, count = filled(float("-inf")), begin.type(LANES)
    first = builder.and_(begin, begin.type(-LANES))
    with cgutils.for_range_slice(builder, first, end, count) as (place, _):
        mine = builder.gep(values, [builder.add(at, place)])
        lanes = builder.add(lane_numbers(), spread_word(builder, place))
        inside = builder.and_(
            builder.icmp_signed(">=", lanes, spread_word(builder, begin)),
            builder.icmp_signed("<", lanes, spread_word(builder, end)),
        )
        store(builder, builder.select(inside, lowest, load(builder, mine)), mine)
    return context.get_dummy_value()


@written
def raise_two(
    typing: Any, values: Any, at: Any, step: Any, count: Any, less: Any, totals: Any
) -> Any:
    """In values[at + i · step :][:count], of ROWS rows i of whole vectors, x becomes
    2^(x - less[i]), and totals[i] their sum; all flat float32. What lies below -126 is 0."""
    from numba.core import types  # `compiled` must import numba first

    size = types.int64
    return types.void(values, size, size, size, less, totals), _write_raise


def _write_raise(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    values, less, totals = (data(context, builder, signature, given, n) for n in (0, 4, 5))
    _, at, step, count, _, _ = given
    rows, sums = row_starts(builder, values, at, step), held(builder, 0)
    tops = [spread(builder, builder.load(builder.gep(less, [WORD(i)]))) for i in range(ROWS)]
    with cgutils.for_range_slice(builder, at.type(0), count, at.type(LANES)) as (place, _):
        for row, top, total in zip(rows, tops, sums, strict=True):
            mine = builder.gep(row, [place])
            found = _power(builder, builder.fsub(load(builder, mine), top))
            store(builder, found, mine)
            builder.store(builder.fadd(builder.load(total), found), total)
    for i, total in enumerate(sums):
        one = folded(builder, builder.load(total), lambda b, x, y: b.fadd(x, y))
        builder.store(one, builder.gep(totals, [WORD(i)]))
    return context.get_dummy_value()


def _power(builder: Any, x: Any) -> Any:
    """2^x of x ≤ 0, around the nearest integer n; NaN stays one.

    x + 1.5 · 2^23 + 127 has n + 127 as its lowest bits, which are 2^n's exponent.
    """
    x, large = larger(builder, filled(-127), x), filled(12582912.0 + 127)
    shifted = builder.fadd(x, large)
    part = builder.fsub(x, builder.fsub(shifted, large))
    found = filled(_POWERS[0])
    for number in _POWERS[1:]:
        found = fused(builder, found, part, filled(number))
    bits = builder.shl(builder.bitcast(shifted, WORDS), WORDS([23] * LANES))
    return builder.fmul(found, builder.bitcast(bits, FLOATS))


@written
def transpose(
    typing: Any, values: Any, at: Any, step: Any, out: Any, place: Any, stride: Any
) -> Any:
    """out[place + j · stride + i] = values[at + i · step + j], of i and j < LANES, both flat."""
    from numba.core import types  # `compiled` must import numba first

    size = types.int64
    return types.void(values, size, size, out, size, size), _write_transpose


def _write_transpose(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    values, out = (data(context, builder, signature, given, n) for n in (0, 3))
    _, at, step, _, place, stride = given

    def row(array: Any, first: Any, width: Any, i: int) -> Any:
        return builder.gep(array, [builder.add(first, builder.mul(width, width.type(i)))])

    rows = [load(builder, row(values, at, step, i)) for i in range(LANES)]
    half = LANES // 2
    low, high = ([n // 2 + n % 2 * LANES + half * side for n in range(LANES)] for side in (0, 1))
    size = LANES
    while size > 1:  # each time rows of half the distance are laid between each other
        pairs = [(rows[i], rows[i + half]) for i in range(half)]
        rows = [picked(builder, *pair, side) for pair in pairs for side in (low, high)]
        size //= 2
    for i, found in enumerate(rows):
        store(builder, found, row(out, place, stride, i))
    return context.get_dummy_value()


@written
def copy_row(
    typing: Any, values: Any, at: Any, out: Any, place: Any, count: Any, factor: Any
) -> Any:
    """out[place + i] = values[at + i] · factor, of i < count, both flat."""
    from numba.core import types  # `compiled` must import numba first

    size = types.int64
    return types.void(values, size, out, size, size, types.float32), _write_copy


def _write_copy(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    values, out = (data(context, builder, signature, given, n) for n in (0, 2))
    _, at, _, place, count, factor = given
    mine, theirs = builder.gep(values, [at]), builder.gep(out, [place])
    whole, many = builder.and_(count, count.type(-LANES)), spread(builder, factor)
    with cgutils.for_range_slice(builder, count.type(0), whole, count.type(LANES)) as (i, _):
        found = builder.fmul(load(builder, builder.gep(mine, [i])), many)
        store(builder, found, builder.gep(theirs, [i]))
    with cgutils.for_range_slice(builder, whole, count, count.type(1)) as (i, _):
        number = builder.fmul(builder.load(builder.gep(mine, [i])), factor)
        builder.store(number, builder.gep(theirs, [i]))
    return context.get_dummy_value()


@written
def add_row(
    typing: Any, values: Any, at: Any, out: Any, place: Any, count: Any, factor: Any
) -> Any:
    """out[place + i] += values[at + i] · factor, of i < count and up to whole vectors; both
    flat."""
    from numba.core import types  # `compiled` must import numba first

    size = types.int64
    return types.void(values, size, out, size, size, types.float32), _write_add


def _write_add(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    values, out = (data(context, builder, signature, given, n) for n in (0, 2))
    _, at, _, place, count, factor = given
    mine, theirs, many = (
        builder.gep(values, [at]),
        builder.gep(out, [place]),
        spread(builder, factor),
    )
    with cgutils.for_range_slice(builder, count.type(0), count, count.type(LANES)) as (i, _):
        to = builder.gep(theirs, [i])
        added = load(builder, builder.gep(mine, [i]))
        store(builder, fused(builder, added, many, load(builder, to)), to)
    return context.get_dummy_value()
