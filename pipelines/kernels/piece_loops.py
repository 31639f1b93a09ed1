"""WordPiece of ASCII words, as machine code (Wu et al. 2016, arXiv:1609.08144)."""

from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Bool, Int32, Int64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.word_loops import FNV_BASIS, FNV_PRIME, LONGEST, Tokens, UInt8

_ONE, _HALF = np.uint64(1), np.uint64(32)


class Pieces(NamedTuple):
    """A vocabulary of pieces: a hash table of open addressing.

    Attributes:
        lowered: uint8[256], what the normaliser makes of a byte; 0: not known here.
        slots: int32[2^k], the number of a piece plus 1; 0 where none is.
        begins: int64[n + 1]; piece p is letters[begins[p] : begins[p + 1]].
        letters: uint8[m].
        inner: bool[n], whether it goes on with a word that has begun.
        ids: int32[n], its token.
        unknown: the token of a word that is not made of pieces.
    """

    lowered: UInt8
    slots: Int32
    begins: Int64
    letters: UInt8
    inner: Bool
    ids: Int32
    unknown: int


@compiled
def put_pieces(table: Pieces) -> None:
    """Fill the slots."""
    for number in range(len(table.ids)):
        code = _seed(table.inner[number])
        for i in range(table.begins[number], table.begins[number + 1]):
            code = (code ^ np.uint64(table.letters[i])) * FNV_PRIME
        slot = _first_slot(code, table)
        while table.slots[slot] > 0:
            slot = (slot + _ONE) & np.uint64(len(table.slots) - 1)
        table.slots[slot] = number + 1


@compiled
def split_words(letters: UInt8, begins: Int64, table: Pieces, known: Bool, out: Tokens) -> int:
    """The tokens of words of bytes that are known, at most one a byte; how many there are.

    Args:
        letters: the bytes of all words.
        begins: int64[n + 1]; word w is letters[begins[w] : begins[w + 1]], LONGEST at most.
        table: the vocabulary.
        known: bool[n], filled: whether it has only bytes that are known. Others have no tokens.
        out: filled, but for `sizes` and the words' numbers, which stay as they are.
    """
    word = np.empty(LONGEST, np.uint8)
    filled = 0
    for number in range(len(known)):
        size = begins[number + 1] - begins[number]
        known[number] = True
        for i in range(size):
            word[i] = table.lowered[letters[begins[number] + i]]
            known[number] &= word[i] > 0
        if known[number]:
            filled += _split(word, size, table, filled, out)
        out.begins[number + 1] = filled
    return filled


@compiled
def _split(word: UInt8, size: int, table: Pieces, filled: int, out: Tokens) -> int:
    """The longest piece that the word begins with, then the longest of what is left, and so on."""
    begin = count = 0
    while begin < size:
        piece, end = _longest(word, begin, size, table)
        if piece < 0:
            out.ids[filled], out.places[0, filled], out.places[1, filled] = table.unknown, 0, size
            return 1
        at = filled + count
        out.ids[at], out.places[0, at], out.places[1, at] = table.ids[piece], begin, end
        begin, count = end, count + 1
    return count


@compiled
def _longest(word: UInt8, begin: int, size: int, table: Pieces) -> tuple[int, int]:
    """The number of the longest piece from `begin` on, and where it ends; -1: there is none."""
    codes = np.empty(LONGEST, np.uint64)
    code = _seed(begin > 0)
    for i in range(begin, size):
        code = (code ^ np.uint64(word[i])) * FNV_PRIME
        codes[i] = code
    for end in range(size, begin, -1):
        slot = _first_slot(codes[end - 1], table)
        while table.slots[slot] > 0:
            piece = table.slots[slot] - 1
            if _is(word, begin, end, table, piece):
                return int(piece), end
            slot = (slot + _ONE) & np.uint64(len(table.slots) - 1)
    return -1, size


@compiled
def _is(word: UInt8, begin: int, end: int, table: Pieces, piece: int) -> bool:
    first = table.begins[piece]
    if table.begins[piece + 1] - first != end - begin or table.inner[piece] != (begin > 0):
        return False
    different = 0
    for i in range(end - begin):
        different |= table.letters[first + i] ^ word[begin + i]
    return different == 0


@compiled
def _seed(inner: bool) -> np.uint64:
    return FNV_BASIS ^ np.uint64(0xFF if inner else 0)


@compiled
def _first_slot(code: np.uint64, table: Pieces) -> np.uint64:
    return (code ^ (code >> _HALF)) & np.uint64(len(table.slots) - 1)
