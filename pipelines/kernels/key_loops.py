"""The walk of `corpus/changes.py` over the keys of two sides, as machine code."""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Int64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.memory import address, byte_at, word_at

Bytes = npt.NDArray[np.uint8]
UInt64 = npt.NDArray[np.uint64]
Bounds = npt.NDArray[np.int32] | Int64
#: A side: hashes, uint64[n]; int64[n], the order by which they rise; ids and content hashes, each
#: as bytes and int[n + 1], where in them each begins and the last ends.
Side = tuple[UInt64, Int64, Bytes, Bounds, Bytes, Bounds]

#: What a row comes to: an earlier row of its id, a tombstone, or a document, of which the other
#: side has none, another or the same; the number of these.
EARLIER, TOMBSTONE, ADDED, CHANGED, UNCHANGED, KINDS = range(6)
#: What becomes of a row of the other side: nobody names it, or a row of those kinds does.
UNNAMED = 255


@compiled
def compare_keys(rows: Side, among: Side, kinds: Bytes, fates: Bytes) -> None:
    """Fill what each row comes to; among rows of one id the last in `rows`' order counts.

    Args:
        rows, among: see Side; an id is in `among` once.
        kinds: uint8[n], filled.
        fates: uint8[m], of `among`: the kind of the row that names it, or UNNAMED.
    """
    hashes, order, ids, id_bounds, contents, content_bounds = rows
    others, other_order, other_ids, other_id_bounds, other_contents, other_content_bounds = among
    at = 0
    fates[:] = UNNAMED
    for i in range(len(order)):
        row = order[i]
        begin, end = _text(ids, id_bounds, row)
        tied = i + 1 < len(order) and hashes[order[i + 1]] == hashes[row]
        if tied and _same(begin, end, *_text(ids, id_bounds, order[i + 1])):
            kinds[row] = EARLIER
            continue
        while at < len(other_order) and others[other_order[at]] < hashes[row]:
            at += 1
        place, probe = -1, at
        while place < 0 and probe < len(other_order) and others[other_order[probe]] == hashes[row]:
            if _same(begin, end, *_text(other_ids, other_id_bounds, other_order[probe])):
                place = other_order[probe]
            probe += 1
        begin, end = _text(contents, content_bounds, row)
        kinds[row] = TOMBSTONE if begin == end else ADDED if place < 0 else CHANGED
        if place >= 0:
            if begin < end and _same(
                begin, end, *_text(other_contents, other_content_bounds, place)
            ):
                kinds[row] = UNCHANGED
            fates[place] = kinds[row]


@compiled
def _text(data: Bytes, bounds: Bounds, row: int) -> tuple[int, int]:
    """The addresses where a text begins and ends."""
    at = address(data)
    return at + bounds[row], at + bounds[row + 1]


@compiled
def _same(at: int, end: int, other: int, other_end: int) -> bool:
    if end - at != other_end - other:
        return False
    while at + 8 <= end:
        if word_at(at) != word_at(other):
            return False
        at, other = at + 8, other + 8
    while at < end:
        if byte_at(at) != byte_at(other):
            return False
        at, other = at + 1, other + 1
    return True
