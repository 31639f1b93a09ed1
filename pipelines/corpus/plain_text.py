"""Plain text by its lines.

Paragraphs lie between blank lines; in a text without any each line is one. Headings are lines with
=== or --- below, == of wikis ==, numbered lines (2.1 Method), and lines by themselves that are
short (80 characters, 12 words), begin as a heading does, hold no sentence and are followed by text,
three in a row at most; where each line is a paragraph they may end with a dot, as WikiExtractor
writes them.
"""

from collections.abc import Sequence

import numpy as np

from shardrank.corpus.outline import Outline
from shardrank.corpus.sentences import characters, sentence_rules
from shardrank.kernels.paragraph_loops import find_blocks
from shardrank.kernels.sentence_loops import Blocks


def read_plain(texts: Sequence[str], headings: bool) -> list[Outline]:
    """The outlines of plain texts, which stay as they are."""
    codes = characters("".join(texts))
    bounds = np.cumsum([0, *map(len, texts)])
    room = int(np.count_nonzero(codes == ord("\n"))) + len(texts)
    blocks = Blocks(np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int8))
    stops = np.empty(len(texts), np.int64)
    find_blocks(codes, bounds, sentence_rules().classes, headings, blocks, stops)
    begun = 0
    found = []
    for text, moved, stop in zip(texts, bounds.tolist(), stops.tolist(), strict=False):
        own = slice(begun, stop)
        here = Blocks(blocks.begins[own] - moved, blocks.ends[own] - moved, blocks.levels[own])
        found.append(Outline(text, here, _headings(text, here)))
        begun = stop
    return found


def _headings(text: str, blocks: Blocks) -> list[str]:
    """The words of the headings: their first lines, without the marks of wikis."""
    heads = np.flatnonzero(blocks.levels > 0)
    spans = zip(blocks.begins[heads].tolist(), blocks.ends[heads].tolist(), strict=True)
    return [text[begin:end].split("\n", 1)[0].strip(" \t\r=").rstrip(".") for begin, end in spans]
