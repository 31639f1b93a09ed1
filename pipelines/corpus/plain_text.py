"""Plain text by its lines.

Paragraphs lie between blank lines; in a text without any each line is one. Headings are lines with
=== or --- below, == of wikis ==, numbered lines (2.1 Method), and lines by themselves that are
short (80 characters, 12 words), begin as a heading does, hold no sentence and are followed by text,
three in a row at most; where each line is a paragraph they may end with a dot, as WikiExtractor
writes them.
"""

from collections.abc import Sequence

import numpy as np

from shardrank.corpus.outline import Outlines, bounds_of, head_places
from shardrank.corpus.sentences import characters, sentence_rules
from shardrank.kernels.paragraph_loops import find_blocks
from shardrank.kernels.sentence_loops import Blocks


def read_plain(texts: Sequence[str], headings: bool) -> Outlines:
    """The outlines of plain texts, which stay as they are."""
    together = "".join(texts)
    codes, bounds = characters(together), bounds_of(texts)
    room = int(np.count_nonzero(codes == ord("\n"))) + len(texts)
    blocks = Blocks(np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int8))
    stops = np.empty(len(texts), np.int64)
    find_blocks(codes, bounds, sentence_rules().classes, headings, blocks, stops)
    filled = int(stops[-1]) if len(texts) else 0
    found = Blocks(blocks.begins[:filled], blocks.ends[:filled], blocks.levels[:filled])
    heads = head_places(found, bounds)
    places = zip(heads.begins.tolist(), heads.ends.tolist(), strict=True)
    words = [_words(together[begin:end]) for begin, end in places]
    return Outlines(texts, codes, bounds, found, heads, words)


def _words(heading: str) -> str:
    """Its first line, without the marks of wikis and a dot at the end."""
    return heading.split("\n", 1)[0].strip(" \t\r=").rstrip(".")
