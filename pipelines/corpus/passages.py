"""Splitting a document into windows of tokens. Pure arithmetic."""

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.protocols import TokenSpans
from shardrank.corpus.cut_rule import TITLE_CHARACTERS, CutRule, Passage, full_text
from shardrank.corpus.validate import Document


def cut_document(document: Document, spans: TokenSpans, rule: CutRule) -> list[Passage]:
    """The document's passages in order; [] where its text has no token and it has no picture. A
    picture without text is one passage, and one with text belongs to the first.

    A document that fits has exactly the ids of `full_text`. A window of a longer one has the ids
    of prompt and title (at most half the room, however long the title) and then its own; its title
    has TITLE_CHARACTERS at most, since it is stored with each of them.

    Args:
        document: what to cut.
        spans: tokens of `full_text(document, rule)`.
        rule: how to cut.
    """
    head_characters = len(full_text(document, rule)) - len(document.text)
    empty = spans.end <= head_characters
    if empty and document.picture is None:
        return []
    total = len(spans.ids)
    if empty or total <= rule.room or not rule.split:
        seen = spans.ids[: rule.room]
        return [Passage(document.title, document.text, seen, total > rule.room)]
    places = spans.places()
    # A token that begins with the space before the text belongs to the text.
    head = int(np.searchsorted(places.ends, head_characters, side="right"))
    kept = spans.ids[: min(head, rule.room // 2)]
    title = document.title[:TITLE_CHARACTERS]
    pieces = windows(places.words[head:], rule.room - len(kept), rule.overlap)
    starts, ends = places.starts[head:] - head_characters, places.ends[head:] - head_characters
    return [
        Passage(
            title=title,
            text=document.text[max(int(starts[first]), 0) : int(ends[last - 1])],
            tokens=np.concatenate([kept, spans.ids[head + first : head + last]]),
            truncated=len(kept) < head or title != document.title,
        )
        for first, last in pieces
    ]


def windows(words: Int32, room: int, overlap: int) -> list[tuple[int, int]]:
    """Token ranges [first, last) of at most `room` tokens that together hold every token.

    Ranges begin and end between words, unless a word is longer than `room`; neighbours share
    about `overlap` tokens (more or fewer to keep words whole, never planned for more than half
    the room). The last range is filled up backwards, so that none is a tiny tail.

    Args:
        words: int32[n], the number of the word that each token belongs to.
        room: the longest range, at least 1.
        overlap: tokens shared by neighbours.
    """
    size = len(words)
    if size <= room:
        return [(0, size)] if size else []
    edges = _Edges(words)
    shared = min(overlap, room // 2)
    ranges: list[tuple[int, int]] = []
    start = end = 0
    while start + room < size:
        cut = edges.before(start + room)
        end = cut if cut > end else start + room
        ranges.append((start, end))
        start = _next_start(edges, start, end, room, shared)
    last = edges.after(size - room)
    return [*ranges, (last if last <= end else size - room, size)]


class _Edges:
    """The positions between words: 0, n, and wherever the word number changes."""

    def __init__(self, words: Int32) -> None:
        inner = np.flatnonzero(np.diff(words)) + 1
        self._at = np.concatenate([[0], inner, [len(words)]])

    def before(self, position: int) -> int:
        """The last edge ≤ position."""
        return int(self._at[np.searchsorted(self._at, position, side="right") - 1])

    def after(self, position: int) -> int:
        """The first edge ≥ position."""
        return int(self._at[np.searchsorted(self._at, position, side="left")])


def _next_start(edges: _Edges, start: int, end: int, room: int, overlap: int) -> int:
    if edges.before(end) != end:  # inside a word longer than the room: only it is shared
        return max(end - overlap, edges.before(end))
    shared = max(end - overlap, start + 1)
    wanted = edges.before(shared)
    if wanted <= start:
        wanted = edges.after(shared)
    following = edges.after(end + 1)
    if wanted + room >= following:
        return wanted
    # The next word fits whole only into a window that begins later, or into none.
    return edges.after(following - room if following - room <= end else shared)
