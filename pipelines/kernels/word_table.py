"""Putting words into a table by their bytes, as machine code."""

import numpy as np

from shardrank.kernels.compiled import compiled_bare, inlined
from shardrank.kernels.word_loops import UInt8, WordTable


@inlined
def number_word(data: UInt8, begin: int, end: int, table: WordTable) -> int:
    """The number of data[begin : end], which is put into the table; -1 where that has no room."""
    slot = _slot(data, begin, end, table)
    if table.slots[slot] > 0:
        return int(table.slots[slot] - 1)
    number = table.filled[0]
    at, size = table.begins[number], end - begin
    if number + 1 == len(table.begins) or at + size > len(table.letters):
        return -1
    for i in range(size):
        table.letters[at + i] = data[begin + i]
    table.begins[number + 1], table.filled[0] = at + size, number + 1
    table.slots[slot] = number + 1
    return int(number)


@compiled_bare
def find_slots(table: WordTable) -> None:
    """Fill empty slots with the words of the table."""
    for number in range(table.filled[0]):
        begin, end = table.begins[number], table.begins[number + 1]
        table.slots[_slot(table.letters, begin, end, table)] = number + 1


@inlined
def _slot(data: UInt8, begin: int, end: int, table: WordTable) -> np.uint64:
    """Where the word is, or the empty slot where it would be."""
    code = np.uint64(0xCBF29CE484222325)  # FNV-1a
    for i in range(begin, end):
        code = (code ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
    mask = np.uint64(len(table.slots) - 1)
    slot = (code ^ (code >> np.uint64(32))) & mask
    while table.slots[slot] > 0 and not _is(data, begin, end, table, table.slots[slot] - 1):
        slot = (slot + np.uint64(1)) & mask
    return slot


@inlined
def _is(data: UInt8, begin: int, end: int, table: WordTable, number: int) -> bool:
    first, size = table.begins[number], end - begin
    if table.begins[number + 1] - first != size:
        return False
    different = 0
    for i in range(size):
        different |= table.letters[first + i] ^ data[begin + i]
    return different == 0
