"""What texts are made of: their blocks, their headings, and the sections between these."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Bool, Int64
from shardrank.corpus.sentences import characters
from shardrank.kernels.section_loops import HeadPlaces, UInt32, find_sections
from shardrank.kernels.sentence_loops import Blocks

#: What stands between a title and the headings below it.
BREADCRUMB = " > "

#: Characters of Unicode's first plane, and of all planes.
_FIRST, _ALL = 1 << 16, 0x110000


@dataclass(frozen=True, eq=False)
class Outlines:
    """Texts without their markup, as far as that is taken off, and what lies where in them.

    Attributes:
        texts: what passages are cut from.
        codes: uint32[n], their characters, one text behind the other.
        bounds: int64[texts + 1], where each text begins in these.
        blocks: paragraphs and headings of all texts.
        heads: where the headings lie.
        words: of each heading, which may be "".
    """

    texts: Sequence[str]
    codes: UInt32
    bounds: Int64
    blocks: Blocks
    heads: HeadPlaces
    words: Sequence[str]


#: Outlines of texts; the flag asks for headings, which are paragraphs else.
Reader = Callable[[Sequence[str], bool], Outlines]


@dataclass(frozen=True, eq=False)
class Sections:
    """The texts between headings, without these, in order; a heading with nothing below it is a
    section of its own words. So no character is lost but those of headings, which are in paths.

    Attributes:
        owners: int64[s], the number of each one's text; each text has one at least.
        begins, ends: int64[s], characters, as in `Outlines`.
        heads: int64[s], the heading that each is directly below; -1: none.
        paths: of each heading the words of those above it and its own, joined by BREADCRUMB.
    """

    owners: Int64
    begins: Int64
    ends: Int64
    heads: Int64
    paths: Sequence[str]


def sections(outlines: Outlines) -> Sections:
    """Those of all texts."""
    heads, texts = outlines.heads, len(outlines.texts)
    parents = np.empty(len(heads.owners), np.int64)
    found = np.empty((4, len(parents) + texts), np.int64)
    # Most texts keep to the first plane, and the table of all takes a tenth of a second to make.
    largest = int(outlines.codes.max(initial=0)) if len(parents) else 0
    seen = _seen(_FIRST if largest < _FIRST else _ALL)
    count = find_sections(outlines.codes, outlines.bounds, heads, seen, parents, found)
    owners, begins, ends, own = found[:, :count]
    return Sections(owners, begins, ends, own, _paths(outlines.words, parents.tolist()))


@cache
def _seen(size: int) -> Bool:
    """bool[size]: zero-width characters give no token and are no text."""
    characters = map(chr, range(size))
    return np.array([each.isprintable() and not each.isspace() for each in characters])


def line_sections(outlines: Outlines) -> Sections:
    """A section for each line in which something is seen, up to the next one: a tokeniser may make
    one token of a line's last character and its end. The whole text where none is seen."""
    codes, bounds = outlines.codes, outlines.bounds
    begins = np.unique(np.append(bounds, np.flatnonzero(codes == ord("\n")) + 1))[:-1]
    seen = np.append(0, np.cumsum(_seen(_ALL)[codes]))
    begins = begins[np.diff(seen[np.append(begins, len(codes))]) > 0]
    owners = np.searchsorted(bounds, begins, side="right") - 1
    whole = np.setdiff1d(np.arange(len(outlines.texts)), owners)
    owners, begins = np.append(owners, whole), np.append(begins, bounds[whole])
    order = np.lexsort((begins, owners))
    owners, begins = owners[order], begins[order]
    ends = np.minimum(np.append(begins[1:], len(codes)), bounds[owners + 1])
    return Sections(owners, begins, ends, np.full(len(owners), -1), ())


def _paths(words: Sequence[str], parents: Sequence[int]) -> list[str]:
    found: list[str] = []
    for own, parent in zip(words, parents, strict=True):
        above = found[parent] if parent >= 0 else ""
        found.append(f"{above}{BREADCRUMB}{own}" if above and own else above or own)
    return found


class Written(NamedTuple):
    """A text without its markup; begin, end and level of each block; and the headings' words."""

    text: str
    spans: Sequence[tuple[int, int, int]]
    words: Sequence[str]


def outlines_of(written: Sequence[Written]) -> Outlines:
    """Texts read one by one."""
    texts = [one.text for one in written]
    bounds = bounds_of(texts)
    rows = np.array([*_rows(written, bounds.tolist())], np.int64).reshape(-1, 3).T
    blocks = Blocks(rows[0].copy(), rows[1].copy(), rows[2].astype(np.int8))
    words = [words for one in written for words in one.words]
    codes = characters("".join(texts))
    return Outlines(texts, codes, bounds, blocks, head_places(blocks, bounds), words)


def _rows(written: Sequence[Written], bounds: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    for one, moved in zip(written, bounds, strict=False):
        for begin, end, level in one.spans:
            yield begin + moved, end + moved, level


def bounds_of(texts: Sequence[str]) -> Int64:
    """int64[texts + 1]: where each begins in their characters, and where the last ends."""
    return np.cumsum([0, *map(len, texts)], dtype=np.int64)


def head_places(blocks: Blocks, bounds: Int64) -> HeadPlaces:
    """The blocks that are headings, by their texts."""
    heads = np.flatnonzero(blocks.levels > 0)
    begins, ends = blocks.begins[heads], blocks.ends[heads]
    owners = np.searchsorted(bounds, begins, side="right") - 1
    return HeadPlaces(owners.astype(np.int64), blocks.levels[heads], begins, ends)
