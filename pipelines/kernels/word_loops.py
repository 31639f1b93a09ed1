"""The loops of `words.py`, as machine code: finding words in UTF-8, and laying out their tokens.

They are written without slices and with few calls: each costs numba more than a word does.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Int32, Int64
from shardrank.kernels.compiled import compiled

UInt8 = npt.NDArray[np.uint8]

#: Bytes of the longest word that is remembered.
LONGEST = 64

#: Of the hash FNV-1a.
FNV_BASIS, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_ONE, _HALF = np.uint64(1), np.uint64(32)


class Cuts(NamedTuple):
    """Where words begin and end.

    Attributes:
        skipped: bool[256], bytes between words.
        joined: bool[256, 256], whether the second byte belongs to the word of the first.
    """

    skipped: Bool
    joined: Bool


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
    """The tokens of words, word by word.

    Attributes:
        begins: int64[n + 1], where each word's begin.
        sizes: int32[n], how many words the tokeniser itself makes of each.
        ids: int32[m].
        places: int32[3, m], the first and last + 1 characters of the word, and which of `sizes`
            words it is in.
    """

    begins: Int64
    sizes: Int32
    ids: Int32
    places: Int32


@compiled
def find_words(data: UInt8, bounds: Int64, cuts: Cuts, table: WordTable, found: FoundWords) -> None:
    """Number the words of texts, and put those into the table that were not there.

    Args:
        data: the UTF-8 of all texts.
        bounds: int64[texts + 1]; text t is data[bounds[t] : bounds[t + 1]].
        cuts: where their words begin and end.
        table: the words so far.
        found: filled.
    """
    skipped, joined = cuts.skipped, cuts.joined
    words, places = found.words, found.places
    filled = 0
    for text in range(len(bounds) - 1):
        begun, at, place, end = filled, bounds[text], 0, bounds[text + 1]
        found.refused[text] = False
        while at < end:
            if skipped[data[at]]:
                at, place = at + 1, place + 1
                continue
            begin, size = at, 1
            code = (FNV_BASIS ^ np.uint64(data[at])) * FNV_PRIME
            at += 1
            while at < end and joined[data[at - 1], data[at]]:
                code = (code ^ np.uint64(data[at])) * FNV_PRIME
                size += (data[at] & 0xC0) != 0x80  # all but continuation bytes begin a character
                at += 1
            word = _number(data, begin, at - begin, code, table) if at - begin <= LONGEST else -1
            if word < 0:
                found.refused[text], filled = True, begun
                break
            words[filled], places[filled] = word, place
            place, filled = place + size, filled + 1
        found.ends[text] = filled


@compiled
def _number(data: UInt8, begin: int, size: int, code: np.uint64, table: WordTable) -> int:
    """The number of a word, which is put into the table; -1 where that has no room."""
    slots, begins, letters = table.slots, table.begins, table.letters
    mask = np.uint64(len(slots) - 1)
    slot = (code ^ (code >> _HALF)) & mask
    while slots[slot] > 0:
        number = slots[slot] - 1
        first = begins[number]
        if begins[number + 1] - first == size:
            different = 0
            for i in range(size):
                different |= letters[first + i] ^ data[begin + i]
            if different == 0:
                return int(number)
        slot = (slot + _ONE) & mask
    new = table.filled[0]
    first = begins[new]
    if new + 1 == len(begins) or first + size > len(letters):
        return -1
    for i in range(size):
        letters[first + i] = data[begin + i]
    begins[new + 1], table.filled[0] = first + size, new + 1
    slots[slot] = new + 1
    return int(new)


@compiled
def lay_ids(found: FoundWords, tokens: Tokens, lead: int, bounds: Int64, stops: Int64) -> Int32:
    """int32[m]: the tokens of all texts, one after another.

    Args:
        found: the texts' words.
        tokens: those of every word.
        lead: characters that every text was given in front.
        bounds: int64[texts + 1], filled: where each text's tokens begin.
        stops: int64[texts], filled: the character behind each text's last token; 0 without one.
    """
    words, places = found.words, found.places
    begins, known, ends = tokens.begins, tokens.ids, tokens.places[1]
    ids = np.empty(_count(found, begins), np.int32)
    number = filled = 0
    for text in range(len(found.ends)):
        stop = 0
        while number < found.ends[text]:
            word = words[number]
            last = begins[word + 1]
            for i in range(begins[word], last):
                ids[filled] = known[i]
                filled += 1
            if last > begins[word]:
                stop = places[number] + ends[last - 1] - lead
            number += 1
        bounds[text + 1], stops[text] = filled, stop
    return ids


@compiled
def _count(found: FoundWords, begins: Int64) -> int:
    """How many tokens all words have that were found."""
    count = 0
    for number in range(found.ends[-1]):
        word = found.words[number]
        count += begins[word + 1] - begins[word]
    return count


@compiled
def lay_places(found: FoundWords, tokens: Tokens, lead: int, places: Int32) -> None:
    """Where the tokens of all texts lie, one after another.

    Args:
        found: the texts' words.
        tokens: those of every word.
        lead: as for `lay_ids`; they count as the first character of a text.
        places: int32[3, m], filled: the first and last + 1 characters of each, and its word;
            counted from where its text begins.
    """
    number = filled = 0
    for text in range(len(found.ends)):
        part = 0
        while number < found.ends[text]:
            word, place = found.words[number], found.places[number]
            for i in range(tokens.begins[word], tokens.begins[word + 1]):
                places[0, filled] = max(place + tokens.places[0, i] - lead, 0)
                places[1, filled] = max(place + tokens.places[1, i] - lead, lead)
                places[2, filled] = part + tokens.places[2, i]
                filled += 1
            part += tokens.sizes[word]
            number += 1
