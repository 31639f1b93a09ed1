"""Plain text by its lines.

Paragraphs lie between blank lines; in a text without any each line is one. Headings are lines with
=== or --- below, == of wikis ==, numbered lines (2.1 Method), and lines by themselves that are
short (80 characters, 12 words), begin as a heading does, hold no sentence and are followed by text,
three in a row at most; where each line is a paragraph they may end with a dot, as WikiExtractor
writes them.
"""

from collections.abc import Sequence

import numpy as np

from shardrank.core.arrays import Int64
from shardrank.corpus.outline import Heading, Outlines
from shardrank.corpus.sentences import characters, sentence_rules
from shardrank.kernels.paragraph_loops import find_blocks
from shardrank.kernels.sentence_loops import Blocks


def read_plain(texts: Sequence[str], headings: bool) -> Outlines:
    """The outlines of plain texts, which stay as they are."""
    codes = characters("".join(texts))
    bounds = np.cumsum([0, *map(len, texts)])
    room = int(np.count_nonzero(codes == ord("\n"))) + len(texts)
    blocks = Blocks(np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int8))
    stops = np.empty(len(texts), np.int64)
    find_blocks(codes, bounds, sentence_rules().classes, headings, blocks, stops)
    filled = int(stops[-1]) if len(texts) else 0
    found = Blocks(blocks.begins[:filled], blocks.ends[:filled], blocks.levels[:filled])
    return Outlines(texts, found, _headings(texts, found, bounds) if headings else {})


def _headings(texts: Sequence[str], blocks: Blocks, bounds: Int64) -> dict[int, list[Heading]]:
    heads = np.flatnonzero(blocks.levels > 0)
    owners = np.searchsorted(bounds, blocks.begins[heads], side="right") - 1
    moved = bounds[owners]
    begins, ends = blocks.begins[heads] - moved, blocks.ends[heads] - moved
    columns = (each.tolist() for each in (owners, blocks.levels[heads], begins, ends))
    found: dict[int, list[Heading]] = {}
    for owner, level, begin, end in zip(*columns, strict=True):
        words = _words(texts[owner][begin:end])
        found.setdefault(owner, []).append(Heading(level, words, begin, end))
    return found


def _words(heading: str) -> str:
    """Its first line, without the marks of wikis and a dot at the end."""
    return heading.split("\n", 1)[0].strip(" \t\r=").rstrip(".")
