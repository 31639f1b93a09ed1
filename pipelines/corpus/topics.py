"""Where a text turns to something else: between sentences whose neighbours' vectors part.

Hearst 1997 (TextTiling, Computational Linguistics 23:1): a gap's depth is how far the similarity of
both sides rises again before and behind it; one that is deeper than the text's mean less half of
the deviation is a boundary. Vectors are a static table's, in the place of counted words.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from shardrank.core.arrays import Int64
from shardrank.core.protocols import SentenceVectors
from shardrank.kernels.sentence_loops import TOPIC, UInt8
from shardrank.kernels.topic_loops import boundaries, depths, similarities

#: Sentences whose vectors are compared on either side of a gap.
WINDOW = 1

#: Of the standard deviation, by which a boundary's depth may lie below the mean.
_BELOW = 0.5


def mark_topics(texts: Sequence[str], marks: Sequence[UInt8], sentences: SentenceVectors) -> None:
    """Mark as TOPIC the sentences with which texts turn to something else.

    Args:
        texts: to be cut.
        marks: of each text, uint8[characters], what begins at each; changed.
        sentences: makes vectors.
    """
    starts = [np.flatnonzero(each) for each in marks]
    bounds = np.cumsum([0, *map(len, starts)], dtype=np.int64)
    pieces = [
        text[begin:end]
        for text, places in zip(texts, starts, strict=True)
        for begin, end in _between(places, len(text))
    ]
    alike = similarities(sentences.vectors(pieces), bounds, WINDOW)
    deep = boundaries(depths(alike, bounds), bounds, _BELOW)
    for number, (mine, places) in enumerate(zip(marks, starts, strict=True)):
        mine[places[deep[bounds[number] : bounds[number + 1]]]] = TOPIC


def _between(starts: Int64, end: int) -> Iterator[tuple[int, int]]:
    return pairwise([*starts.tolist(), end])
