"""What a document's text is made of: its blocks, its headings, and the sections between these."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Int8, Int64
from shardrank.kernels.sentence_loops import Blocks


@dataclass(frozen=True, eq=False)
class Outline:
    """A text without its markup, as far as that is taken off, and where what lies in it.

    Attributes:
        text: what passages are cut from.
        blocks: paragraphs and headings of it, by characters.
        headings: the words of each block that is a heading, in order; they may be "".
    """

    text: str
    blocks: Blocks
    headings: Sequence[str]


#: Outlines of texts; the flag asks for headings, which are paragraphs else.
Reader = Callable[[Sequence[str], bool], list[Outline]]


@dataclass(frozen=True)
class Section:
    """Characters begin to end of a text, below the headings of `path`, from the outermost in."""

    path: tuple[str, ...]
    begin: int
    end: int


def sections(outline: Outline) -> list[Section]:
    """The text between headings, without these; a heading with nothing below it is a section of its
    own words. So no character is lost but those of headings, which are in paths."""
    heads = np.flatnonzero(outline.blocks.levels > 0)
    if not len(heads):
        return [Section((), 0, len(outline.text))]
    return list(_sections(outline, heads))


def _sections(outline: Outline, heads: Int64) -> Iterator[Section]:
    text, blocks = outline.text, outline.blocks
    begins, ends = blocks.begins[heads].tolist(), blocks.ends[heads].tolist()
    levels = blocks.levels[heads].tolist()
    yield from _filled(text, Section((), 0, begins[0]))
    path: list[tuple[int, str]] = []
    stops, below = [*begins[1:], len(text)], [*levels[1:], 0]
    for n, level in enumerate(levels):
        above = [(each, words) for each, words in path if each < level]
        path = [*above, (level, outline.headings[n])]
        own = Section(_words(path), ends[n], stops[n])
        yield from _filled(text, own)
        if below[n] <= level and not text[own.begin : own.end].strip():
            yield Section(_words(above), begins[n], ends[n])


def _filled(text: str, section: Section) -> Iterator[Section]:
    if text[section.begin : section.end].strip():
        yield section


def _words(path: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(words for _, words in path if words)


def blocks_of(spans: Sequence[tuple[int, int, int]]) -> Blocks:
    """Blocks from (begin, end, level) each, in order."""
    table = np.array(spans, np.int64).reshape(-1, 3)
    levels: Int8 = table[:, 2].astype(np.int8)
    return Blocks(table[:, 0].copy(), table[:, 1].copy(), levels)


def joined(outlines: Sequence[Outline]) -> Blocks:
    """The blocks of texts that lie one behind the other."""
    sizes = [len(outline.text) for outline in outlines]
    moved = np.cumsum([0, *sizes[:-1]])
    counts = [len(outline.blocks.begins) for outline in outlines]
    shift = np.repeat(moved, counts)
    return Blocks(
        begins=np.concatenate([o.blocks.begins for o in outlines]) + shift,
        ends=np.concatenate([o.blocks.ends for o in outlines]) + shift,
        levels=np.concatenate([o.blocks.levels for o in outlines]),
    )
