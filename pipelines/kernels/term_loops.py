"""The loops that count the words of texts, as machine code."""

import numpy as np

from shardrank.core.arrays import Bool, Float32, Int32, Int64, UInt64
from shardrank.kernels.compiled import compiled_bare, inlined
from shardrank.kernels.word_loops import UInt8, WordTable
from shardrank.kernels.word_table import number_word

#: Kinds of characters: between words; one that begins a word, or goes on with it; one that only
#: goes on.
BETWEEN, LETTER, MARK = 0, 1, 2


@compiled_bare
def cut_words(
    data: UInt8,
    bounds: Int64,
    kinds: UInt8,
    table: WordTable,
    done: int,
    words: Int32,
    ends: Int64,
) -> int:
    """Number the words of texts that have two characters or more, as long as the table has room.

    Args:
        data: the UTF-8 of all texts; surrogates are characters of three bytes.
        bounds: int64[n + 1]; text t is data[bounds[t] : bounds[t + 1]].
        kinds: uint8[1114112], what each character is.
        table: the words so far; those that are new are put into it.
        done: how many texts were cut before.
        words: int32[m], filled with the numbers, text by text.
        ends: int64[n + 1], filled: where each text's words begin.

    Returns:
        How many texts are done then.
    """
    for text in range(done, len(bounds) - 1):
        at, filled = bounds[text], ends[text]
        while at < bounds[text + 1]:
            begin, at, size = _next_word(data, at, bounds[text + 1], kinds)
            if size < 2:
                continue
            word = number_word(data, begin, at, table)
            if word < 0:
                return text
            words[filled] = word
            filled += 1
        ends[text + 1] = filled
    return len(bounds) - 1


@inlined
def _next_word(data: UInt8, at: int, end: int, kinds: UInt8) -> tuple[int, int, int]:
    """Where the next word begins and ends, and its characters; 0 where none comes."""
    begin, size = at, 0
    while at < end:
        code, width = np.uint32(data[at]), 1
        if code >= 128:
            code, width = _character(data, at)
        kind = kinds[code]
        if kind == LETTER or (kind == MARK and size > 0):
            begin = at if size == 0 else begin
            size += 1
        elif size > 0:
            return begin, at, size
        at += width
    return begin, at, size


@inlined
def _character(data: UInt8, at: int) -> tuple[np.uint32, int]:
    """The character of several bytes at a place, and how many (RFC 3629)."""
    lead = np.uint32(data[at])
    width = 2 + int(lead >= 0xE0) + int(lead >= 0xF0)
    code = lead & np.uint32(0x7F >> width)
    for i in range(1, width):
        code = np.uint32(code << np.uint32(6)) | np.uint32(data[at + i] & 0x3F)
    return code, width


@compiled_bare
def count_words(
    words: Int32,
    bounds: Int64,
    left_out: Bool,
    last: Int64,
    numbers: Int32,
    counts: Float32,
    ends: Int64,
) -> int:
    """The different words of each text, in the order in which they are met.

    Args:
        words: int32[m].
        bounds: int64[n + 1], where each text's begin.
        left_out: bool[V], words that do not count.
        last: int64[V] of -1, written over.
        numbers: int32[m], filled with words.
        counts: float32[m], filled: how often each occurs.
        ends: int64[n + 1], filled: where each text's begin in `numbers`.

    Returns:
        How much of them is filled.
    """
    filled = 0
    for text in range(len(bounds) - 1):
        ends[text] = filled
        for i in range(bounds[text], bounds[text + 1]):
            word = words[i]
            if left_out[word]:
                continue
            if last[word] >= ends[text]:
                counts[last[word]] += 1
                continue
            last[word], numbers[filled], counts[filled] = filled, word, 1
            filled += 1
    ends[len(bounds) - 1] = filled
    return filled


@compiled_bare
def lay_back(
    terms: UInt64,
    stops: Int64,
    rows: Int32,
    counts: Float32,
    begins: Int64,
    out: UInt64,
    weights: Float32,
) -> None:
    """From lists of rows to rows of terms, which ascend as the lists' do.

    Args:
        terms: uint64[T], ascending.
        stops: int64[T + 1], where the list of each begins.
        rows: int32[m], of all lists.
        counts: float32[m], likewise.
        begins: int64[n], where the next term of each row belongs; moved on.
        out: uint64[m], filled with terms, and likewise `weights`, float32[m], with counts.
    """
    for number in range(len(terms)):
        for i in range(stops[number], stops[number + 1]):
            at = begins[rows[i]]
            out[at], weights[at] = terms[number], counts[i]
            begins[rows[i]] = at + 1
