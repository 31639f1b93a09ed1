"""The loops of `words.py`, as machine code: finding words in UTF-8, and laying out their tokens."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Int32, Int64
from shardrank.kernels.compiled import compiled

UInt8 = npt.NDArray[np.uint8]

#: Kinds of bytes: in a word of several, between words, a word of its own.
INSIDE, SPACE, ALONE = 0, 1, 2

#: Bytes of the longest word that is remembered.
LONGEST = 64


class WordTable(NamedTuple):
    """Words by their bytes: a hash table of open addressing.

    Attributes:
        slots: int32[2^k], the number of a word plus 1; 0 where none is.
        begins: int64[n + 1]; word w is letters[begins[w] : begins[w + 1]].
        letters: uint8[m].
        filled: int64[1], the words that are in it.
    """

    slots: Int32
    begins: Int64
    letters: UInt8
    filled: Int64


class FoundWords(NamedTuple):
    """Where words were met.

    Attributes:
        words: int32[m] their numbers, text by text.
        places: int32[m], the character of its text at which each begins.
        ends: int64[texts], where each text's words end in these.
        refused: bool[texts], those with a word for which there is no room; they have none here.
    """

    words: Int32
    places: Int32
    ends: Int64
    refused: Bool


class Tokens(NamedTuple):
    """The tokens of words, word by word: int32[m], and int64[n + 1] where each word's begin.

    `starts` and `ends` are characters of the word. `parts` number the words that the tokeniser
    itself makes of this one, of which there are int32[n] `sizes`.
    """

    begins: Int64
    ids: Int32
    starts: Int32
    ends: Int32
    parts: Int32
    sizes: Int32


@compiled
def find_words(
    data: UInt8, bounds: Int64, kinds: UInt8, table: WordTable, found: FoundWords
) -> None:
    """Number the words of texts, and put those into the table that were not there.

    Args:
        data: the UTF-8 of all texts.
        bounds: int64[texts + 1]; text t is data[bounds[t] : bounds[t + 1]].
        kinds: uint8[256], what each byte is.
        table: the words so far.
        found: filled.
    """
    filled = 0
    for text in range(len(bounds) - 1):
        begun, at, place = filled, bounds[text], 0
        found.refused[text] = False
        while at < bounds[text + 1]:
            if kinds[data[at]] == SPACE:
                at, place = at + 1, place + 1
                continue
            stop, size = _end_of_word(data, at, bounds[text + 1], kinds)
            word = _number(data[at:stop], table) if stop - at <= LONGEST else -1
            if word < 0:
                found.refused[text], filled = True, begun
                break
            found.words[filled], found.places[filled] = word, place
            at, place, filled = stop, place + size, filled + 1
        found.ends[text] = filled


@compiled
def _end_of_word(data: UInt8, at: int, end: int, kinds: UInt8) -> tuple[int, int]:
    """Behind its last byte, and how many characters it has."""
    if kinds[data[at]] == ALONE:
        return at + 1, 1
    size = 0
    while at < end and kinds[data[at]] == INSIDE:
        size += (data[at] & 0xC0) != 0x80  # all but continuation bytes begin a character
        at += 1
    return at, size


@compiled
def _number(word: UInt8, table: WordTable) -> int:
    """The number of a word, which is put into the table; -1 where that has no room."""
    code = np.uint64(0xCBF29CE484222325)  # FNV-1a
    for letter in word:
        code = (code ^ np.uint64(letter)) * np.uint64(0x100000001B3)
    mask = np.uint64(len(table.slots) - 1)
    slot = (code ^ (code >> np.uint64(32))) & mask
    while table.slots[slot] > 0:
        if _is(word, table, table.slots[slot] - 1):
            return int(table.slots[slot] - 1)
        slot = (slot + np.uint64(1)) & mask
    number = table.filled[0]
    begin = table.begins[number]
    if number + 1 == len(table.begins) or begin + len(word) > len(table.letters):
        return -1
    for i in range(len(word)):
        table.letters[begin + i] = word[i]
    table.begins[number + 1], table.filled[0] = begin + len(word), number + 1
    table.slots[slot] = number + 1
    return int(number)


@compiled
def _is(word: UInt8, table: WordTable, number: int) -> bool:
    begin = table.begins[number]
    if table.begins[number + 1] - begin != len(word):
        return False
    different = 0
    for i in range(len(word)):
        different |= table.letters[begin + i] ^ word[i]
    return different == 0


@compiled
def lay_out(found: FoundWords, tokens: Tokens, ids: Int32, places: Int32, bounds: Int64) -> None:
    """Put the tokens of all texts one after another.

    Args:
        found: the texts' words.
        tokens: those of every word.
        ids: int32[m], filled.
        places: int32[3, m], filled: the first and last + 1 characters of each, and its word;
            counted from where its text begins.
        bounds: int64[texts + 1], filled: where each text's tokens begin.
    """
    number = filled = 0
    for text in range(len(found.ends)):
        part = 0
        while number < found.ends[text]:
            word, place = found.words[number], found.places[number]
            for i in range(tokens.begins[word], tokens.begins[word + 1]):
                ids[filled] = tokens.ids[i]
                places[0, filled] = place + tokens.starts[i]
                places[1, filled] = place + tokens.ends[i]
                places[2, filled] = part + tokens.parts[i]
                filled += 1
            part += tokens.sizes[word]
            number += 1
        bounds[text + 1] = filled
