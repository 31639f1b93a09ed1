"""SHA-256 of many short texts, as many at a time as a vector has lanes, on any CPU.

FIPS 180-4, section 6.2. To ask a library for each text costs more than hashing it. The eight words
of the state are all of the registers that AVX2 has where each is two vectors, so there it is one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from shardrank.core.arrays import Int64
from shardrank.kernels.compiled import compiled, written
from shardrank.kernels.memory import address
from shardrank.kernels.sha256_tails import (
    BLOCK,
    FIRST,
    ROUNDS,
    TAIL,
    WINDOWS,
    blocks_of,
    by_blocks,
    lay_tail,
)
from shardrank.kernels.vectors import LANES

Bytes = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]

_WORDS = 16


def sha256_in_lanes(begins: Int64, ends: Int64) -> UInt32:
    """uint32[n, 8]: the digests of texts, as big-endian words' values.

    Args:
        begins, ends: int64[n], the addresses where each text begins and ends.
    """
    out = np.empty((len(begins), 8), np.uint32)
    _digest(begins, ends, FIRST, WINDOWS, out)
    return out


@compiled
def _digest(begins: Int64, ends: Int64, first: UInt32, windows: Bytes, out: UInt32) -> None:
    """Fill `out`, uint32[n, 8]. Texts of as many blocks go together, so that few lanes wait."""
    state = np.empty((8, LANES), np.uint32)
    tails = np.zeros((LANES, TAIL), np.uint8)
    whole, blocks = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    places, begun = np.empty(LANES, np.int64), np.zeros(LANES, np.int64)
    order = by_blocks(begins, ends)
    for at in range(0, len(order), LANES):
        # Looked up each time: an array is freed behind its last use, whoever has its address.
        lanes, most, tail = min(LANES, len(order) - at), 0, address(tails)
        for i in range(8):
            for lane in range(LANES):
                state[i, lane] = first[i]
        for lane in range(lanes):
            row = order[at + lane]
            begun[lane], whole[lane] = begins[row], (ends[row] - begins[row]) // BLOCK
            blocks[lane] = blocks_of(ends[row] - begins[row])
            most = max(most, blocks[lane])
            lay_tail(begins[row], ends[row], windows, tail + lane * TAIL)
        for block in range(most):
            for lane in range(LANES):
                inside = begun[lane] + block * BLOCK
                behind = tail + lane * TAIL + (block - whole[lane]) * BLOCK
                place = inside if block < whole[lane] else behind
                places[lane] = place if block < blocks[lane] else tail
            _compress(state, places)
            for lane in range(lanes):
                if block + 1 == blocks[lane]:
                    for i in range(8):
                        out[order[at + lane], i] = state[i, lane]
        blocks[:] = 0


def _place(builder: Any, at: Any) -> Any:
    return builder.inttoptr(at, _vector().as_pointer())


@written
def _compress(typing: Any, state: Any, places: Any) -> Any:
    """One block of each lane: uint32[8, LANES] of state, changed; int64[LANES], where each is."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(state, places), _write_compress


def _write_compress(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    states, places = (
        context.make_array(kind)(context, builder, value).data
        for kind, value in zip(signature.args, given, strict=True)
    )
    states = _rows(builder, states, 8)
    begun = [builder.load(place, align=4) for place in states]
    lanes = [builder.load(builder.gep(places, [ir.IntType(64)(n)])) for n in range(LANES)]
    schedule = [word for first in range(0, _WORDS, LANES) for word in _words(builder, lanes, first)]
    now = begun
    for number, constant in enumerate(ROUNDS):
        if number >= _WORDS:
            schedule.append(_next_word(builder, schedule[number - _WORDS :]))
        now = _round(builder, now, builder.add(schedule[number], _all(constant)))
    for place, before, after in zip(states, begun, now, strict=True):
        builder.store(builder.add(before, after), place, align=4)
    return context.get_dummy_value()


def _words(builder: Any, lanes: list[Any], first: int) -> list[Any]:
    """LANES words of each lane's block, from the first on."""
    places = [_place(builder, builder.add(at, at.type(4 * first))) for at in lanes]
    loaded = [_big_endian(builder, builder.load(place, align=1)) for place in places]
    return _turned_square(builder, loaded)


def _big_endian(builder: Any, value: Any) -> Any:
    """Each word's bytes the other way round."""
    bytes_ = builder.bitcast(value, ir.VectorType(ir.IntType(8), 4 * LANES))
    places = [word + byte for word in range(0, 4 * LANES, 4) for byte in (3, 2, 1, 0)]
    kind = ir.VectorType(ir.IntType(32), 4 * LANES)
    turned = builder.shuffle_vector(bytes_, bytes_, ir.Constant(kind, places))
    return builder.bitcast(turned, value.type)


def _turned_square(builder: Any, rows: list[Any]) -> list[Any]:
    """Row i of lane j as row j of lane i: by halves that change places, of all vectors, then of
    half as many, and so on."""
    step = LANES // 2
    while step:
        low = [lane if not lane & step else LANES + lane - step for lane in range(LANES)]
        high = [lane + step if not lane & step else LANES + lane for lane in range(LANES)]
        for row in (row for row in range(LANES) if not row & step):
            pair = rows[row], rows[row + step]
            rows[row], rows[row + step] = (
                builder.shuffle_vector(*pair, ir.Constant(_vector(), lanes))
                for lanes in (low, high)
            )
        step //= 2
    return rows


def _round(builder: Any, now: list[Any], word: Any) -> list[Any]:
    """Section 6.2.2, step 3; `word` with the round's constant."""
    a, b, c, d, e, f, g, h = now
    choice = builder.xor(g, builder.and_(e, builder.xor(f, g)))
    first = _sum(builder, h, _mixed(builder, e, (6, 11, 25)), choice, word)
    majority = builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))
    second = builder.add(_mixed(builder, a, (2, 13, 22)), majority)
    return [builder.add(first, second), a, b, c, builder.add(d, first), e, f, g]


def _next_word(builder: Any, last: list[Any]) -> Any:
    """Step 1, from the last 16 words."""
    low = builder.xor(_mixed(builder, last[1], (7, 18)), builder.lshr(last[1], _all(3)))
    high = builder.xor(_mixed(builder, last[14], (17, 19)), builder.lshr(last[14], _all(10)))
    return _sum(builder, last[0], low, last[9], high)


def _mixed(builder: Any, value: Any, turns: tuple[int, ...]) -> Any:
    """The value turned right by so many bits each, by exclusive or."""
    first, *others = (_turned(builder, value, bits) for bits in turns)
    for other in others:
        first = builder.xor(first, other)
    return first


def _turned(builder: Any, value: Any, bits: int) -> Any:
    """One instruction of AVX-512."""
    right, left = builder.lshr(value, _all(bits)), builder.shl(value, _all(32 - bits))
    return builder.or_(right, left)


def _sum(builder: Any, first: Any, *others: Any) -> Any:
    for other in others:
        first = builder.add(first, other)
    return first


def _rows(builder: Any, data: Any, count: int) -> list[Any]:
    """Where each row of lanes lies, as vectors."""
    step = ir.IntType(64)
    places = (builder.gep(data, [step(row * LANES)]) for row in range(count))
    return [builder.bitcast(place, _vector().as_pointer()) for place in places]


def _all(number: int) -> Any:
    return ir.Constant(_vector(), [number] * LANES)


def _vector() -> ir.VectorType:
    return ir.VectorType(ir.IntType(32), LANES)
