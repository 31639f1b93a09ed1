"""SHA-256 of many short texts, sixteen at a time: one in each lane of a vector, on any CPU.

FIPS 180-4, section 6.2. To ask a library for each text costs more than hashing it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from shardrank.core.arrays import Int64
from shardrank.kernels.compiled import compiled, written

Bytes = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]

_LANES, _WORDS, _BLOCK = 16, 16, 64
#: Bytes that are read behind the texts, whatever they are.
BEHIND = _BLOCK
#: Bytes behind a text: the bit that ends it, and its length.
_TAIL = 9


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _fraction(value: int, root: int) -> int:
    """The first 32 bits behind the point of a root, by whole numbers: section 4.2.2."""
    scaled, low, high = value << 32 * root, 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**root <= scaled else (low, middle - 1)
    return low & 0xFFFFFFFF


_ROUNDS = [_fraction(prime, 3) for prime in _primes(64)]
_FIRST = np.array([_fraction(prime, 2) for prime in _primes(8)], np.uint32)

#: Bytes from the 64th on less a text's end: what is kept of 64 bytes, and the bit behind it.
_WINDOW = 2 * _BLOCK + 1
_WINDOWS = np.zeros((2, _WINDOW), np.uint8)
_WINDOWS[0, :_BLOCK], _WINDOWS[1, _BLOCK] = 0xFF, 0x80


def sha256_all(data: Bytes, begins: Int64, ends: Int64) -> UInt32:
    """uint32[n, 8]: the digests of data[begins[i] : ends[i]], as big-endian words' values.

    Texts of as many blocks go together, so that few lanes wait for others.

    Args:
        data: uint8[...], with BEHIND bytes more than the texts have.
        begins, ends: int64[n].
    """
    blocks = (ends - begins + _TAIL + _BLOCK - 1) // _BLOCK
    order = np.argsort(blocks, kind="stable")
    out = np.empty((len(begins), 8), np.uint32)
    _digest(data, begins, ends, blocks, order, _FIRST, _WINDOWS, out)
    return out


@compiled
def _digest(
    data: Bytes,
    begins: Int64,
    ends: Int64,
    blocks: Int64,
    order: Int64,
    first: UInt32,
    windows: Bytes,
    out: UInt32,
) -> None:
    """Fill `out`, uint32[n, 8]; `order` sorts by `blocks`."""
    held, state = np.zeros((_LANES, _BLOCK), np.uint8), np.empty((8, _LANES), np.uint32)
    words = held.view(np.uint32)
    for at in range(0, len(order), _LANES):
        lanes = min(_LANES, len(order) - at)
        for i in range(8):
            for lane in range(_LANES):
                state[i, lane] = first[i]
        for block in range(blocks[order[at + lanes - 1]]):
            for lane in range(lanes):
                row = order[at + lane]
                if block < blocks[row]:
                    begin, end = begins[row] + block * _BLOCK, ends[row]
                    window = _BLOCK - min(max(end - begin, -1), _BLOCK)
                    _lay(data, begin, windows, window, held, lane)
                    if block + 1 == blocks[row]:
                        bits = np.uint64(end - begins[row]) << np.uint64(3)
                        words[lane, 14] = _swapped(np.uint32(bits >> np.uint64(32)))
                        words[lane, 15] = _swapped(np.uint32(bits & np.uint64(0xFFFFFFFF)))
            _compress(state, words)
            for lane in range(lanes):
                if block + 1 == blocks[order[at + lane]]:
                    for i in range(8):
                        out[order[at + lane], i] = state[i, lane]


@compiled
def _swapped(word: np.uint32) -> np.uint32:
    """A word's bytes the other way round."""
    halves = word << np.uint32(16) | word >> np.uint32(16)
    odd, even = np.uint32(0xFF00FF00), np.uint32(0x00FF00FF)
    return (halves & odd) >> np.uint32(8) | (halves & even) << np.uint32(8)


@written
def _lay(typing: Any, data: Any, at: Any, windows: Any, window: Any, held: Any, lane: Any) -> Any:
    """held[lane], of uint8[16, 64]: data[at : at + 64] where windows[0] holds ones from there on,
    and what windows[1] holds."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(data, at, windows, window, held, lane), _write_lay


def _write_lay(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    data, windows, held = (
        context.make_array(signature.args[n])(context, builder, given[n]).data for n in (0, 2, 4)
    )
    kind = ir.VectorType(ir.IntType(8), _BLOCK)

    def place(array: Any, at: Any) -> Any:
        return builder.bitcast(builder.gep(array, [at]), kind.as_pointer())

    second = builder.add(given[3], given[3].type(_WINDOW))
    text, kept, ended = (
        builder.load(place(array, at), align=1)
        for array, at in ((data, given[1]), (windows, given[3]), (windows, second))
    )
    laid = builder.or_(builder.and_(text, kept), ended)
    row = builder.mul(given[5], given[5].type(_BLOCK))
    builder.store(laid, place(held, row), align=1)
    return context.get_dummy_value()


@written
def _compress(typing: Any, state: Any, words: Any) -> Any:
    """One block of each lane: uint32[8, 16] of state, changed; uint32[16, 16], the lanes' words."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(state, words), _write_compress


def _write_compress(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    states, lanes = (
        _rows(builder, context.make_array(kind)(context, builder, value).data, count)
        for kind, value, count in zip(signature.args, given, (8, _WORDS), strict=True)
    )
    begun = [builder.load(place, align=4) for place in states]
    schedule = _turned_square(
        builder, [_big_endian(builder, builder.load(place, align=1)) for place in lanes]
    )
    now = begun
    for number, constant in enumerate(_ROUNDS):
        if number >= _WORDS:
            schedule.append(_next_word(builder, schedule[number - _WORDS :]))
        now = _round(builder, now, builder.add(schedule[number], _all(constant)))
    for place, before, after in zip(states, begun, now, strict=True):
        builder.store(builder.add(before, after), place, align=4)
    return context.get_dummy_value()


def _big_endian(builder: Any, value: Any) -> Any:
    """Each word's bytes the other way round."""
    bytes_ = builder.bitcast(value, ir.VectorType(ir.IntType(8), 4 * _LANES))
    places = [word + byte for word in range(0, 4 * _LANES, 4) for byte in (3, 2, 1, 0)]
    kind = ir.VectorType(ir.IntType(32), 4 * _LANES)
    turned = builder.shuffle_vector(bytes_, bytes_, ir.Constant(kind, places))
    return builder.bitcast(turned, value.type)


def _turned_square(builder: Any, rows: list[Any]) -> list[Any]:
    """Row i of lane j as row j of lane i: by halves that change places, of 16 vectors, 8, 4, 2."""
    step = _LANES // 2
    while step:
        low = [lane if not lane & step else _LANES + lane - step for lane in range(_LANES)]
        high = [lane + step if not lane & step else _LANES + lane for lane in range(_LANES)]
        for row in (row for row in range(_LANES) if not row & step):
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
    places = (builder.gep(data, [step(row * _LANES)]) for row in range(count))
    return [builder.bitcast(place, _vector().as_pointer()) for place in places]


def _all(number: int) -> Any:
    return ir.Constant(_vector(), [number] * _LANES)


def _vector() -> ir.VectorType:
    return ir.VectorType(ir.IntType(32), _LANES)
