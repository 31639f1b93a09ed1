"""Byte-pair encoding of words, as machine code (Sennrich et al. 2016, arXiv:1508.07909)."""

from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Int32, Int64, UInt64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.word_loops import LONGEST, Tokens, UInt8

_SHIFT, _ONE, _SPREAD = np.uint64(32), np.uint64(1), np.uint64(0x9E3779B97F4A7C15)
#: Of two tokens that are not merged.
NEVER = np.int32(0x7FFFFFFF)


class Merges(NamedTuple):
    """What becomes of characters, and of two tokens one after the other.

    Attributes:
        characters: int32[c], the token of each character below c; -1: it has only bytes.
        bytes: int32[256], the token of each byte.
        pairs: uint64[2^k], a hash table of open addressing: the two tokens + 1 in one number; 0:
            none is there.
        ranks: int32[2^k], of these pairs: the lowest is merged first.
        merged: int32[2^k], what becomes of them.
    """

    characters: Int32
    bytes: Int32
    pairs: UInt64
    ranks: Int32
    merged: Int32


@compiled
def put_pairs(pairs: Int32, merged: Int32, table: Merges) -> None:
    """Fill the table with int32[n, 2] pairs and int32[n] what becomes of them, by rank.

    Of a pair that comes twice the last rank counts, as in the `tokenizers` library.
    """
    for rank in range(len(pairs)):
        slot = _slot(pairs[rank, 0], pairs[rank, 1], table)
        table.pairs[slot] = _key(pairs[rank, 0], pairs[rank, 1])
        table.ranks[slot], table.merged[slot] = rank, merged[rank]


@compiled
def merge_words(letters: UInt8, begins: Int64, table: Merges, out: Tokens) -> int:
    """The tokens of words, at most one a byte; how many there are.

    Args:
        letters: the UTF-8 of all words.
        begins: int64[n + 1]; word w is letters[begins[w] : begins[w + 1]], LONGEST at most.
        table: of the tokeniser.
        out: filled, but for `sizes` and the words' numbers, which stay as they are.
    """
    ids, starts, ends = np.empty((3, LONGEST), np.int32)
    ranks = np.empty(LONGEST, np.int32)
    filled = 0
    for word in range(len(begins) - 1):
        size = _characters(letters, begins[word], begins[word + 1], table, ids, starts, ends)
        for i in range(size - 1):
            ranks[i] = table.ranks[_slot(ids[i], ids[i + 1], table)]
        size = _merge(ids, starts, ends, ranks, size, table)
        for i in range(size):
            out.ids[filled], out.places[0, filled], out.places[1, filled] = (
                ids[i],
                starts[i],
                ends[i],
            )
            filled += 1
        out.begins[word + 1] = filled
    return filled


@compiled
def _characters(
    letters: UInt8, at: int, end: int, table: Merges, ids: Int32, starts: Int32, ends: Int32
) -> int:
    """The tokens of single characters, or of their bytes; how many there are."""
    size = number = 0
    while at < end:
        code, length = _code_point(letters, at)
        known = table.characters[code] if code < len(table.characters) else np.int32(-1)
        for i in range(1 if known >= 0 else length):
            ids[size] = known if known >= 0 else table.bytes[letters[at + i]]
            starts[size], ends[size] = number, number + 1
            size += 1
        at, number = at + length, number + 1
    return size


@compiled
def _code_point(letters: UInt8, at: int) -> tuple[int, int]:
    """Of the character that begins there, and how many bytes it has."""
    first = int(letters[at])
    if first < 0x80:
        return first, 1
    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    code = first & (0x7F >> length)
    for i in range(1, length):
        code = (code << 6) | (int(letters[at + i]) & 0x3F)
    return code, length


@compiled
def _merge(ids: Int32, starts: Int32, ends: Int32, ranks: Int32, size: int, table: Merges) -> int:
    """Merge the pair of the lowest rank, of several the first, until none is left; the tokens."""
    while True:
        best = -1
        for i in range(size - 1):
            if ranks[i] < (ranks[best] if best >= 0 else NEVER):
                best = i
        if best < 0:
            return size
        ids[best] = table.merged[_slot(ids[best], ids[best + 1], table)]
        ends[best] = ends[best + 1]
        size -= 1
        for i in range(best + 1, size):
            ids[i], starts[i], ends[i], ranks[i - 1] = (
                ids[i + 1],
                starts[i + 1],
                ends[i + 1],
                ranks[i],
            )
        for i in range(max(best - 1, 0), min(best + 1, size - 1)):
            ranks[i] = table.ranks[_slot(ids[i], ids[i + 1], table)]


@compiled
def _key(left: int, right: int) -> np.uint64:
    return (np.uint64(left) << _SHIFT | np.uint64(right)) + _ONE


@compiled
def _slot(left: int, right: int, table: Merges) -> np.uint64:
    """Where a pair is, or would be."""
    key = _key(left, right)
    mask = np.uint64(len(table.pairs) - 1)
    mixed = key * _SPREAD
    slot = (mixed ^ (mixed >> _SHIFT)) & mask
    while table.pairs[slot] != 0 and table.pairs[slot] != key:
        slot = (slot + _ONE) & mask
    return slot
