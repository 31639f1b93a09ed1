"""The loops of Hamming search, as machine code: many codes against many queries, counted at once.

Words of codes stand transposed, a register of a word of several codes: then each register is
compared with one word of a query, its bits are counted in place (AVX-512's VPOPCNTDQ; elsewhere
LLVM looks up half bytes, by vpshufb, as Muła, Kurz and Lemire do: Faster Population Counts Using
AVX2 Instructions, 2018), and nothing is added up across lanes.
"""

from typing import Any

import numpy as np
from llvmlite import ir

from shardrank.core.arrays import Int32, Int64, UInt64
from shardrank.kernels.compiled import compiled, written
from shardrank.kernels.instructions import lowest
from shardrank.kernels.search_loops import cut
from shardrank.kernels.vectors import LANES, data, spread

#: Codes whose words of 64 bits fill a register, and registers of sums that are held.
_WIDTH, _SUMS = LANES // 2, 4

#: Codes that are compared with a query at once.
CODES = _WIDTH * _SUMS

#: The lower half of a hit.
_LOW = 0xFFFFFFFF

#: Words in a line of the cache.
_LINE = 8

_LONG = ir.IntType(64)
_LONGS = ir.VectorType(_LONG, _WIDTH)


@compiled
def collect_codes(
    codes: UInt64,
    begin: int,
    queries: UInt64,
    found: Int64,
    counts: Int32,
    floors: Int64,
    depth: int,
) -> None:
    """Put codes that are nearer than a query's floor into its buffer; cut buffers that are full.

    A hit is one number, the negated distance over its position's complement, as in `search_loops`.

    Args:
        codes: uint64[n, w], those at positions `begin` to begin + n < 2^31, which must ascend from
            call to call.
        queries: uint64[q, w].
        found: int64[q, capacity], the buffers of hits; capacity ≥ depth + 32.
        counts: int32[q], how much of each buffer is filled.
        floors: int64[q], the hit that a code must beat: the depth-th best so far.
        depth: how many are wanted, at least 1.
    """
    words, flat = codes.shape[1], queries.reshape(-1)
    chunk = _lines(words * CODES)
    distances = np.empty(CODES, np.int64)
    limits = -(floors >> 32)
    room = found.shape[1] - CODES
    for first in range(0, len(codes), CODES):
        filled = min(CODES, len(codes) - first)
        for i in range(filled):
            for word in range(words):
                chunk[word * CODES + i] = codes[first + i, word]
        every = (1 << filled) - 1
        for query in range(len(queries)):
            nearer = _nearer(chunk, flat, query * words, words, limits[query], distances)
            nearer &= every
            if nearer == 0:
                continue
            mine, count = found[query], int(counts[query])
            while nearer:
                place = lowest(np.uint64(nearer))
                nearer &= nearer - 1
                position = begin + first + place
                mine[count] = (-distances[place] << 32) | (_LOW - position)
                count += 1
            if count > room:
                floors[query], count = cut(mine, count, depth), depth
                limits[query] = -(floors[query] >> 32)
            counts[query] = count


@compiled
def _lines(size: int) -> UInt64:
    """Zeros that begin with a line of the cache: no register is read from two of them."""
    room = np.zeros(size + _LINE, np.uint64)
    begin = -(room.ctypes.data >> 3) % _LINE
    return room[begin : begin + size]


@written
def _nearer(
    typing: Any, chunk: Any, queries: Any, at: Any, words: Any, limit: Any, distances: Any
) -> Any:
    """int64 of bits: which of CODES codes are nearer to a query than the limit; int64 distances of
    all are written.

    Args:
        chunk: uint64[words · CODES], the codes' words, transposed.
        queries: uint64[..], in which the query's words stand from `at` on.
    """
    from numba.core import types  # `compiled` must import numba first

    signature = types.int64(chunk, queries, types.int64, types.int64, types.int64, distances)
    return signature, _write_nearer


def _write_nearer(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    chunk, queries, out = (data(context, builder, signature, given, n) for n in (0, 1, 5))
    sums = _counted(builder, chunk, builder.gep(queries, [given[2]]), given[3])
    for number, distances in enumerate(sums):
        _store(builder, distances, builder.gep(out, [_LONG(number * _WIDTH)]))
    limit = spread(builder, given[4], _WIDTH)
    near = builder.icmp_signed("<", _least(builder, sums), limit)
    found = cgutils.alloca_once_value(builder, _LONG(0))  # type: ignore[no-untyped-call]
    any_near = builder.icmp_unsigned("!=", _bits(builder, near), ir.IntType(_WIDTH)(0))
    with builder.if_then(any_near, likely=False):
        bits = _LONG(0)
        for number, distances in enumerate(sums):
            own = _bits(builder, builder.icmp_signed("<", distances, limit))
            moved = builder.shl(builder.zext(own, _LONG), _LONG(number * _WIDTH))
            bits = builder.or_(bits, moved)
        builder.store(bits, found)
    return builder.load(found)


def _counted(builder: Any, chunk: Any, query: Any, words: Any) -> list[Any]:
    """The bits in which CODES codes differ from a query: vectors of sums."""
    from numba.core import cgutils  # `compiled` must import numba first

    none = ir.Constant(_LONGS, [0] * _WIDTH)
    sums = [
        cgutils.alloca_once_value(builder, none)  # type: ignore[no-untyped-call]
        for _ in range(_SUMS)
    ]
    count = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(_LONGS, [_LONGS]), f"llvm.ctpop.v{_WIDTH}i64"
    )
    with cgutils.for_range(builder, words) as loop:
        asked = spread(builder, builder.load(builder.gep(query, [loop.index])), _WIDTH)
        start = builder.mul(loop.index, _LONG(CODES))
        for number, place in enumerate(sums):
            at = builder.gep(chunk, [builder.add(start, _LONG(number * _WIDTH))])
            differ = builder.xor(_load(builder, at), asked)
            total = builder.add(builder.load(place), builder.call(count, [differ]))
            builder.store(total, place)
    return [builder.load(place) for place in sums]


def _least(builder: Any, sums: list[Any]) -> Any:
    """The least of the vectors, lane by lane."""
    least = sums[0]
    for other in sums[1:]:
        less = builder.icmp_signed("<", other, least)
        least = builder.select(less, other, least)
    return least


def _bits(builder: Any, flags: Any) -> Any:
    """A vector of flags as a number, the first lane its lowest bit."""
    return builder.bitcast(flags, ir.IntType(_WIDTH))


def _load(builder: Any, at: Any) -> Any:
    return builder.load(builder.bitcast(at, _LONGS.as_pointer()), align=8)


def _store(builder: Any, value: Any, at: Any) -> None:
    builder.store(value, builder.bitcast(at, value.type.as_pointer()), align=8)
