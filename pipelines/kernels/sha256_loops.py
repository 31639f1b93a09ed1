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


def sha256_all(data: Bytes, begins: Int64, ends: Int64) -> UInt32:
    """uint32[n, 8]: the digests of data[begins[i] : ends[i]], as big-endian words' values.

    Texts of as many blocks go together, so that few lanes wait for others.
    """
    blocks = (ends - begins + _TAIL + _BLOCK - 1) // _BLOCK
    order = np.argsort(blocks, kind="stable")
    out = np.empty((len(begins), 8), np.uint32)
    _digest(data, begins, ends, blocks, order, _FIRST, out)
    return out


@compiled
def _digest(
    data: Bytes,
    begins: Int64,
    ends: Int64,
    blocks: Int64,
    order: Int64,
    first: UInt32,
    out: UInt32,
) -> None:
    """Fill `out`, uint32[n, 8]; `order` sorts by `blocks`."""
    words, state = np.empty((_WORDS, _LANES), np.uint32), np.empty((8, _LANES), np.uint32)
    for at in range(0, len(order), _LANES):
        group = order[at : at + _LANES]
        for i in range(8):
            state[i] = first[i]
        for block in range(blocks[group[-1]]):
            for lane in range(len(group)):
                row = group[lane]
                if block < blocks[row]:
                    _lay(data, begins[row], ends[row], block, words, lane)
            _compress(state, words)
            for lane in range(len(group)):
                if block + 1 == blocks[group[lane]]:
                    out[group[lane]] = state[:, lane]


@compiled
def _lay(data: Bytes, begin: int, end: int, block: int, words: UInt32, lane: int) -> None:
    """A text's block of 64 bytes as 16 words of one lane; behind its end the padding."""
    at = begin + block * _BLOCK
    if at + _BLOCK <= end:
        for word in range(_WORDS):
            words[word, lane] = _big_endian(data, at + 4 * word)
        return
    for word in range(_WORDS):
        value = np.uint32(0)
        for i in range(4):
            place = at + 4 * word + i
            byte = data[place] if place < end else np.uint8(0x80 if place == end else 0)
            value = value << np.uint32(8) | np.uint32(byte)
        words[word, lane] = value
    if at + _BLOCK - end >= _TAIL:
        bits = np.uint64(end - begin) << np.uint64(3)
        words[14, lane], words[15, lane] = bits >> np.uint64(32), bits & np.uint64(0xFFFFFFFF)


@compiled
def _big_endian(data: Bytes, at: int) -> np.uint32:
    return (
        np.uint32(data[at]) << np.uint32(24)
        | np.uint32(data[at + 1]) << np.uint32(16)
        | np.uint32(data[at + 2]) << np.uint32(8)
        | np.uint32(data[at + 3])
    )


@written
def _compress(typing: Any, state: Any, words: Any) -> Any:
    """One block of each lane: uint32[8, 16] of state, changed; uint32[16, 16] of words."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(state, words), _write_compress


def _write_compress(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    states, words = (
        _rows(builder, context.make_array(kind)(context, builder, value).data, count)
        for kind, value, count in zip(signature.args, given, (8, _WORDS), strict=True)
    )
    begun = [builder.load(place, align=4) for place in states]
    schedule = [builder.load(place, align=4) for place in words]
    now = begun
    for number, constant in enumerate(_ROUNDS):
        if number >= _WORDS:
            schedule.append(_next_word(builder, schedule[number - _WORDS :]))
        now = _round(builder, now, builder.add(schedule[number], _all(constant)))
    for place, before, after in zip(states, begun, now, strict=True):
        builder.store(builder.add(before, after), place, align=4)
    return context.get_dummy_value()


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
