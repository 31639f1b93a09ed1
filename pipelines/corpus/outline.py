"""What texts are made of: their blocks, their headings, and the sections between these."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shardrank.kernels.sentence_loops import Blocks


class Heading(NamedTuple):
    """Its level from 1, its words, which may be "", and its characters of the text."""

    level: int
    words: str
    begin: int
    end: int


@dataclass(frozen=True, eq=False)
class Outlines:
    """Texts without their markup, as far as that is taken off, and what lies where in them.

    Attributes:
        texts: what passages are cut from.
        blocks: paragraphs and headings of all texts, as these lie one behind the other.
        headings: of the texts that have any, by their numbers, in order.
    """

    texts: Sequence[str]
    blocks: Blocks
    headings: Mapping[int, Sequence[Heading]]


#: Outlines of texts; the flag asks for headings, which are paragraphs else.
Reader = Callable[[Sequence[str], bool], Outlines]


class Section(NamedTuple):
    """Characters begin to end of a text, below the headings of `path`, from the outermost in."""

    path: tuple[str, ...]
    begin: int
    end: int


def sections(text: str, headings: Sequence[Heading]) -> list[Section]:
    """The text between headings, without these; a heading with nothing below it is a section of its
    own words. So no character is lost but those of headings, which are in paths."""
    if not headings:
        return [Section((), 0, len(text))]
    return list(_sections(text, headings))


def _sections(text: str, headings: Sequence[Heading]) -> Iterator[Section]:
    if not _blank(text, 0, headings[0].begin):
        yield Section((), 0, headings[0].begin)
    path: list[Heading] = []
    following = [*headings[1:], Heading(0, "", len(text), len(text))]
    for heading, after in zip(headings, following, strict=True):
        while path and path[-1].level >= heading.level:
            path.pop()
        path.append(heading)
        if not _blank(text, heading.end, after.begin):
            yield Section(_words(path), heading.end, after.begin)
        elif after.level <= heading.level:
            yield Section(_words(path[:-1]), heading.begin, heading.end)


def line_sections(text: str) -> list[Section]:
    """A section for each line in which something is seen; the whole text where none is."""
    found, begin = [], 0
    for line in text.split("\n"):
        end = begin + len(line)
        if not _blank(text, begin, end):
            found.append(Section((), begin, end))
        begin = end + 1
    return found or [Section((), 0, len(text))]


def _blank(text: str, begin: int, end: int) -> bool:
    """Whether nothing is seen there: zero-width characters give no token and are no text."""
    return all(each.isspace() or not each.isprintable() for each in text[begin:end])


def _words(path: Sequence[Heading]) -> tuple[str, ...]:
    return tuple(heading.words for heading in path if heading.words)


class Written(NamedTuple):
    """A text without its markup; begin, end and level of each block; and the headings' words."""

    text: str
    spans: Sequence[tuple[int, int, int]]
    words: Sequence[str]


def outlines_of(written: Sequence[Written]) -> Outlines:
    """Texts read one by one."""
    rows: list[tuple[int, int, int]] = []
    headings, moved = {}, 0
    for number, one in enumerate(written):
        rows += [(begin + moved, end + moved, level) for begin, end, level in one.spans]
        if one.words:
            heads = (span for span in one.spans if span[2] > 0)
            both = zip(heads, one.words, strict=True)
            headings[number] = [Heading(lv, words, a, b) for (a, b, lv), words in both]
        moved += len(one.text)
    return Outlines([one.text for one in written], _blocks(rows), headings)


def _blocks(rows: Sequence[tuple[int, int, int]]) -> Blocks:
    table = np.array(rows, np.int64).reshape(-1, 3).T
    return Blocks(table[0].copy(), table[1].copy(), table[2].astype(np.int8))
