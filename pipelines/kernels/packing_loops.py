"""The loops of `corpus/structure.py`, as machine code: whole sentences and paragraphs, packed."""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Int32, Int64
from shardrank.kernels.compiled import compiled, compiled_bare

UInt8 = npt.NDArray[np.uint8]


@compiled
def pack(
    ends: Int32,
    words: Int32,
    marks: UInt8,
    moved: int,
    begins: Int64,
    stops: Int64,
    rooms: Int64,
    overlap: int,
    wanted: int,
) -> Int32:
    """int32[p, 3]: for each passage its section, and its tokens from the first to the last + 1.

    A passage is of one section, which it holds if that fits. Else it ends where the last piece of
    the wanted kind ends that fits, or where none does the last sentence, or where none does the
    last word, or where none does at its room. It begins with so many whole sentences of the one
    before as `overlap` tokens hold, fewer where the next piece would not fit behind them.

    Args:
        ends: int32[n], the last character + 1 of each token.
        words: int32[n], the word that each is in.
        marks: uint8[c], the kind of piece that begins at each character; 0: none does.
        moved: characters that stand before these in the tokens' text.
        begins, stops: int64[s], the characters of each section.
        rooms: int64[s], how many tokens a passage of each may have.
        overlap: tokens that neighbours share at most.
        wanted: the least kind of piece that is kept whole.
    """
    found = np.empty((len(ends) + len(begins), 3), np.int32)
    edges = np.empty(len(ends) + 1, np.int32)
    kinds = np.empty(len(ends) + 1, np.uint8)
    filled = token = 0
    for section in range(len(begins)):
        first = token = _token(ends, token, begins[section] + moved)
        last = _token(ends, first, stops[section] + moved)
        count = 0
        if last - first > rooms[section]:
            count = _find_edges(
                ends, marks, moved, begins[section], stops[section], first, edges, kinds
            )
        start = covered = first
        while covered < last:
            limit = start + rooms[section]
            cut = last if last <= limit else _last_edge(edges, kinds, count, covered, limit, wanted)
            if cut == covered and start < covered:
                start = covered
                continue
            inside = cut == covered
            if inside:
                cut = _last_word(words, covered, limit)
            found[filled, 0], found[filled, 1], found[filled, 2] = section, start, cut
            filled += 1
            least = max(start + 1, cut - overlap)
            start = covered = cut
            if cut < last and not inside:
                start = _shared(edges, kinds, count, cut, least, last, rooms[section], wanted)
        token = last
    return found[:filled].copy()


@compiled_bare
def _token(ends: Int32, token: int, character: int) -> int:
    """The first token from `token` on that ends behind a character."""
    low, high = token, len(ends)
    while low < high:
        middle = (low + high) >> 1
        if ends[middle] <= character:
            low = middle + 1
        else:
            high = middle
    return low


@compiled_bare
def _find_edges(
    ends: Int32,
    marks: UInt8,
    moved: int,
    begin: int,
    stop: int,
    first: int,
    edges: Int32,
    kinds: UInt8,
) -> int:
    """Fill in the tokens with which pieces begin, ascending, and the kinds of these; how many."""
    count, token = 0, first
    for at in range(begin, stop):
        if marks[at] == 0:
            continue
        while token < len(ends) and ends[token] <= at + moved:
            token += 1
        if count and edges[count - 1] == token:
            kinds[count - 1] = max(kinds[count - 1], marks[at])
        elif token > first:
            edges[count], kinds[count] = token, marks[at]
            count += 1
    return count


@compiled_bare
def _last_edge(
    edges: Int32, kinds: UInt8, count: int, covered: int, limit: int, wanted: int
) -> int:
    """The last edge behind `covered` and up to `limit`, of the wanted kind if there is one;
    `covered`: there is none."""
    whole = found = covered
    for i in range(_after(edges, count, covered), count):
        if edges[i] > limit:
            break
        found = edges[i]
        if kinds[i] >= wanted:
            whole = edges[i]
    return int(whole if whole > covered else found)


@compiled_bare
def _after(edges: Int32, count: int, token: int) -> int:
    """The first edge behind a token."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if edges[middle] <= token:
            low = middle + 1
        else:
            high = middle
    return low


@compiled_bare
def _last_word(words: Int32, covered: int, limit: int) -> int:
    """Where the last word ends up to `limit`; `limit` within a word that is longer."""
    cut = limit
    while cut > covered and words[cut - 1] == words[cut]:
        cut -= 1
    return cut if cut > covered else limit


@compiled_bare
def _shared(
    edges: Int32,
    kinds: UInt8,
    count: int,
    cut: int,
    least: int,
    last: int,
    room: int,
    wanted: int,
) -> int:
    """Where the next passage begins, from `least` to `cut`: with the first sentence behind which
    the next piece fits."""
    piece = _piece_end(edges, kinds, count, cut, last, wanted)
    if piece - cut > room:
        piece = _piece_end(edges, kinds, count, cut, last, 1)
    for i in range(_after(edges, count, least - 1), count):
        if edges[i] >= cut:
            break
        if piece - edges[i] <= room:
            return int(edges[i])
    return cut


@compiled_bare
def _piece_end(edges: Int32, kinds: UInt8, count: int, cut: int, last: int, wanted: int) -> int:
    for i in range(_after(edges, count, cut), count):
        if kinds[i] >= wanted:
            return int(edges[i])
    return last
