"""The loops of `corpus/structure.py`, as machine code: whole sentences and paragraphs, packed."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Int32, Int64
from shardrank.kernels.compiled import compiled, compiled_bare

UInt8 = npt.NDArray[np.uint8]


class CutTokens(NamedTuple):
    """The tokens of d documents, document behind document.

    Attributes:
        bounds: int64[d + 1], where each document's begin.
        ids: int32[n]; `starts`, `ends`: int32[n], the first character and the last + 1 of each,
            from where its document begins; `words`: int32[n], the word that each is in.
        before: int64[d], characters that stand before a document's own text.
        moved: int64[d]: what a place among all texts' characters is more than in the document's.
    """

    bounds: Int64
    ids: Int32
    starts: Int32
    ends: Int32
    words: Int32
    before: Int64
    moved: Int64


class CutSections(NamedTuple):
    """Sections of the documents, in order.

    Attributes:
        owners: int64[s], the document of each.
        begins, stops: int64[s], its characters among those of all texts.
        fronts: int64[s + 1], where the tokens begin that stand before its passages' own.
        rooms: int64[s], how many tokens a passage of each may have behind those.
    """

    owners: Int64
    begins: Int64
    stops: Int64
    fronts: Int64
    rooms: Int64


@compiled
def first_tokens(tokens: CutTokens) -> Int64:
    """int64[d]: the first token of each document's own text. One that begins with the space before
    it belongs to it."""
    found = np.empty(len(tokens.before), np.int64)
    for number in range(len(found)):
        begin, end = tokens.bounds[number], tokens.bounds[number + 1]
        found[number] = _token(tokens.ends, begin, end, tokens.before[number])
    return found


@compiled
def pack(
    tokens: CutTokens, sections: CutSections, marks: UInt8, overlap: int, wanted: int
) -> Int64:
    """int64[6, p]: for each passage its section, its document, its tokens from the first to the
    last + 1, and its characters of the document's text, likewise.

    A passage is of one section, which it holds if that fits. Else it ends where the last piece of
    the wanted kind ends that fits, or where none does the last sentence, or where none does the
    last word, or where none does at its room. It begins with so many whole sentences of the one
    before as `overlap` tokens hold, fewer where the next piece would not fit behind them.

    Args:
        tokens: of the documents.
        sections: theirs.
        marks: uint8[c], the kind of piece that begins at each character of all texts; 0: none does.
        overlap: tokens that neighbours share at most.
        wanted: the least kind of piece that is kept whole.
    """
    ends, words = tokens.ends, tokens.words
    found = np.empty((6, len(ends) + len(sections.owners)), np.int64)
    edges = np.empty(len(ends) + 1, np.int64)
    kinds = np.empty(len(ends) + 1, np.uint8)
    filled = token = 0
    for section in range(len(sections.owners)):
        owner, room = sections.owners[section], sections.rooms[section]
        stop, moved = tokens.bounds[owner + 1], tokens.moved[owner]
        token = max(token, tokens.bounds[owner])
        first = _token(ends, token, stop, sections.begins[section] - moved)
        last = _token(ends, first, stop, sections.stops[section] - moved)
        count = 0
        if last - first > room:
            begin, end = sections.begins[section], sections.stops[section]
            count = _find_edges(ends, marks, moved, begin, end, first, stop, edges, kinds)
        start = covered = first
        while covered < last:
            limit = start + room
            cut = last if last <= limit else _last_edge(edges, kinds, count, covered, limit, wanted)
            if cut == covered and start < covered:
                start = covered
                continue
            inside = cut == covered
            if inside:
                cut = _last_word(words, covered, limit)
            found[0, filled], found[1, filled] = section, owner
            found[2, filled], found[3, filled] = start, cut
            found[4, filled] = max(tokens.starts[start] - tokens.before[owner], 0)
            found[5, filled] = ends[cut - 1] - tokens.before[owner]
            filled += 1
            least = max(start + 1, cut - overlap)
            start = covered = cut
            if cut < last and not inside:
                start = _shared(edges, kinds, count, cut, least, last, room, wanted)
        token = last
    return found[:, :filled].copy()


@compiled
def lay_tokens(ids: Int32, front: Int32, fronts: Int64, packed: Int64, bounds: Int64) -> Int32:
    """int32[n]: the tokens of all passages, those before each passage's own first.

    Args:
        ids: int32[m], the documents' tokens.
        front: int32[f], what stands before a section's passages, section behind section.
        fronts: int64[s + 1], where each section's begins in that.
        packed: the passages, as `pack` gives them.
        bounds: int64[p + 1], filled: where each passage's tokens begin.
    """
    passages = packed.shape[1]
    bounds[0] = 0
    for i in range(passages):
        section = packed[0, i]
        own, before = packed[3, i] - packed[2, i], fronts[section + 1] - fronts[section]
        bounds[i + 1] = bounds[i] + before + own
    out, at = np.empty(bounds[passages], np.int32), 0
    for i in range(passages):
        section = packed[0, i]
        for token in range(fronts[section], fronts[section + 1]):
            out[at] = front[token]
            at += 1
        for token in range(packed[2, i], packed[3, i]):
            out[at] = ids[token]
            at += 1
    return out


@compiled_bare
def _token(ends: Int32, token: int, stop: int, character: int) -> int:
    """The first token from `token` to `stop` that ends behind a character."""
    low, high = token, stop
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
    end: int,
    first: int,
    stop: int,
    edges: Int64,
    kinds: UInt8,
) -> int:
    """Fill in the tokens with which pieces begin, ascending, and the kinds of these; how many."""
    count, token = 0, first
    for at in range(begin, end):
        if marks[at] == 0:
            continue
        while token < stop and ends[token] <= at - moved:
            token += 1
        if count and edges[count - 1] == token:
            kinds[count - 1] = max(kinds[count - 1], marks[at])
        elif token > first:
            edges[count], kinds[count] = token, marks[at]
            count += 1
    return count


@compiled_bare
def _last_edge(
    edges: Int64, kinds: UInt8, count: int, covered: int, limit: int, wanted: int
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
def _after(edges: Int64, count: int, token: int) -> int:
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
    edges: Int64,
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
def _piece_end(edges: Int64, kinds: UInt8, count: int, cut: int, last: int, wanted: int) -> int:
    for i in range(_after(edges, count, cut), count):
        if kinds[i] >= wanted:
            return int(edges[i])
    return last
