"""SHA-256 of many short texts, two at a time, by the CPU's instructions for it.

One text alone would wait for each of its rounds. The state is kept as they want it: words F, E, B,
A and H, G, D, C.
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

UInt32 = npt.NDArray[np.uint32]

_PAIR = 2
#: Which word of a state each place of it holds.
_HELD = np.array([5, 4, 1, 0, 7, 6, 3, 2])


def sha256_in_pairs(begins: Int64, ends: Int64) -> UInt32:
    """As `sha256_all`, on a CPU that has these instructions."""
    out = np.empty((len(begins), 8), np.uint32)
    _digest(begins, ends, FIRST[_HELD], WINDOWS, _HELD, out)
    return out


@compiled
def _digest(
    begins: Int64,
    ends: Int64,
    first: UInt32,
    windows: npt.NDArray[np.uint8],
    held: Int64,
    out: UInt32,
) -> None:
    """Fill `out`, uint32[n, 8]. Texts of as many blocks go together, so that neither waits."""
    state = np.empty((_PAIR, 8), np.uint32)
    tails = np.zeros((_PAIR, TAIL), np.uint8)
    places, blocks = np.zeros(_PAIR, np.int64), np.zeros(_PAIR, np.int64)
    order = by_blocks(begins, ends)
    for at in range(0, len(order), _PAIR):
        pair = min(_PAIR, len(order) - at)
        state[:] = first
        blocks[:] = 0
        places[:] = address(tails)
        for lane in range(pair):
            row = order[at + lane]
            blocks[lane] = blocks_of(ends[row] - begins[row])
            lay_tail(begins[row], ends[row], windows, address(tails) + lane * TAIL)
        for block in range(max(blocks[0], blocks[1])):
            for lane in range(pair):
                row = order[at + lane]
                behind = block - (ends[row] - begins[row]) // BLOCK
                if block < blocks[lane]:
                    inside = begins[row] + block * BLOCK
                    tail = address(tails) + lane * TAIL + behind * BLOCK
                    places[lane] = inside if behind < 0 else tail
            _compress(address(state), places[0], places[1])
            for lane in range(pair):
                if block + 1 == blocks[lane]:
                    for i in range(8):
                        out[order[at + lane], held[i]] = state[lane, i]


@written
def _compress(typing: Any, state: Any, one: Any, other: Any) -> Any:
    """A block of each: the address of uint32[2, 8] of state, changed, and those of the blocks."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(types.int64, types.int64, types.int64), _write_compress


def _write_compress(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    _clear_upper_halves(builder)
    texts = [_Text(builder, given[0], 32 * lane, given[1 + lane]) for lane in range(_PAIR)]
    for number in range(len(ROUNDS) // 4):
        for text in texts:
            text.four_rounds(number)
    for text in texts:
        text.end()
    return context.get_dummy_value()


def _clear_upper_halves(builder: Any) -> None:
    """These instructions wait a hundred times as long beside vectors that are wider in use."""
    from numba.core import cgutils  # `compiled` must import numba first

    kind = ir.FunctionType(ir.VoidType(), [])
    name = "llvm.x86.avx.vzeroupper"
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])  # type: ignore[no-untyped-call]


class _Text:
    """What is computed of one text's block while it is written."""

    def __init__(self, builder: Any, state: Any, offset: int, block: Any) -> None:
        self._builder = builder
        self._places = [self._place(state, offset + 16 * half) for half in range(2)]
        self._begun = [builder.load(place, align=4) for place in self._places]
        self._now = list(self._begun)
        loaded = [builder.load(self._place(block, 16 * n), align=1) for n in range(4)]
        self._words = [_big_endian(builder, each) for each in loaded]

    def four_rounds(self, number: int) -> None:
        """Section 6.2.2, steps 1 and 3, of four words."""
        builder = self._builder
        if number >= 4:
            self._words.append(self._next())
        constants = ir.Constant(_vector(), ROUNDS[4 * number : 4 * number + 4])
        added = builder.add(self._words[number], constants)
        for half in (added, _chosen(builder, added, added, (2, 3, 0, 0))):
            first, second = self._now
            self._now = [self._call("sha256rnds2", second, first, half), first]

    def end(self) -> None:
        """Step 4."""
        for place, before, after in zip(self._places, self._begun, self._now, strict=True):
            self._builder.store(self._builder.add(before, after), place, align=4)

    def _next(self) -> Any:
        """The next four words, from the last 16."""
        four, three, two, one = self._words[-4:]
        between = _chosen(self._builder, two, one, (1, 2, 3, 4))
        low = self._builder.add(self._call("sha256msg1", four, three), between)
        return self._call("sha256msg2", low, one)

    def _call(self, name: str, *given: Any) -> Any:
        from numba.core import cgutils  # `compiled` must import numba first

        kind = ir.FunctionType(_vector(), [_vector()] * len(given))
        asked = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            self._builder.module, kind, f"llvm.x86.{name}"
        )
        return self._builder.call(asked, given)

    def _place(self, at: Any, offset: int) -> Any:
        place = self._builder.add(at, at.type(offset))
        return self._builder.inttoptr(place, _vector().as_pointer())


def _big_endian(builder: Any, value: Any) -> Any:
    """Each word's bytes the other way round."""
    bytes_ = builder.bitcast(value, ir.VectorType(ir.IntType(8), 16))
    places = tuple(word + byte for word in range(0, 16, 4) for byte in (3, 2, 1, 0))
    return builder.bitcast(_chosen(builder, bytes_, bytes_, places), value.type)


def _chosen(builder: Any, one: Any, other: Any, places: tuple[int, ...]) -> Any:
    kind = ir.VectorType(ir.IntType(32), len(places))
    return builder.shuffle_vector(one, other, ir.Constant(kind, places))


def _vector() -> ir.VectorType:
    return ir.VectorType(ir.IntType(32), 4)
