"""Splitting a document into passages that an encoder sees whole. Pure arithmetic on tokens."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipelines.core.errors import SettingsError
from pipelines.core.protocols import Int32, TokenPlaces, TokenSpans
from pipelines.core.text import passage_text
from pipelines.corpus.validate import Document

#: A title that is repeated before each window has at most so many characters for each token of half
#: the room: a word that the vocabulary lacks is one token, however long.
TITLE_CHARACTERS = 16


@dataclass(frozen=True)
class CutRule:
    """How documents are cut.

    Attributes:
        max_tokens: the encoder's longest input, its special tokens included.
        overlap: tokens that two neighbouring passages share, about.
        split: false keeps one passage for each document, cut at `max_tokens`.
        prompt: put before the title (or the text) of every passage.
        specials: special tokens that the encoder adds.

    Raises:
        SettingsError: no two tokens fit beside the special ones.
    """

    max_tokens: int
    overlap: int
    split: bool
    prompt: str
    specials: int

    def __post_init__(self) -> None:
        if self.room < 2:
            raise SettingsError(
                f"{self.max_tokens} tokens with {self.specials} special ones leave no passage.",
                "Raise passages.max_tokens.",
            )

    @property
    def room(self) -> int:
        """Tokens of prompt, title and text that fit into one input."""
        return self.max_tokens - self.specials


@dataclass(frozen=True)
class Passage:
    """A title and a text, and the encoder's ids of prompt and these.

    Of a document with a title too long for its passages, `title` is the title's beginning, and the
    first texts are the rest of it.
    `tokens` is int32[n], n ≤ the rule's room, without special tokens.
    `truncated`: the encoder sees less than prompt, title and text.
    """

    title: str
    text: str
    tokens: Int32
    truncated: bool


def full_text(document: Document, rule: CutRule) -> str:
    """The string whose tokens `cut_document` needs: prompt, title and text in one."""
    return rule.prompt + passage_text(document.title, document.text)


def cut_document(document: Document, spans: TokenSpans, rule: CutRule) -> list[Passage]:
    """The document's passages in order; [] where its text has no token.

    A document that fits has exactly the ids of `full_text`. A window of a longer one has the ids
    of prompt and title and then its own. Before all windows stands what of the title fits into half
    the room, in tokens and at TITLE_CHARACTERS each; the rest is cut into windows like the text.

    Args:
        document: what to cut.
        spans: tokens of `full_text(document, rule)`.
        rule: how to cut.
    """
    head_characters = len(full_text(document, rule)) - len(document.text)
    if spans.end <= head_characters:
        return []
    total = len(spans.ids)
    if total <= rule.room or not rule.split:
        cut = spans.ids[: rule.room]
        return [Passage(document.title, document.text, cut, total > rule.room)]
    full, places = full_text(document, rule), spans.places()
    head = _head(document, places, rule)
    kept = spans.ids[: head.tokens]
    pieces = windows(places.words[head.next :], rule.room - head.tokens, rule.overlap)
    starts, ends = places.starts[head.next :], places.ends[head.next :]
    return [
        Passage(
            title=head.title,
            text=full[max(int(starts[first]), head.end) : int(ends[last - 1])],
            tokens=np.concatenate([kept, spans.ids[head.next + first : head.next + last]]),
            truncated=head.tokens < head.prompt,
        )
        for first, last in pieces
    ]


class _Head(NamedTuple):
    """What stands before every window: the first tokens of `full_text`, of which `prompt` are the
    prompt's own, and the title that they show. Windows are cut from the token `next` on, and from
    the character `end` on."""

    tokens: int
    prompt: int
    title: str
    next: int
    end: int


def _head(document: Document, places: TokenPlaces, rule: CutRule) -> _Head:
    begin, half = len(rule.prompt), rule.room // 2
    end = begin + len(passage_text(document.title, document.text)) - len(document.text)
    # A token that begins with the space before title or text belongs to these.
    behind = (begin, end, begin + TITLE_CHARACTERS * half)
    prompt, whole, short = (int(n) for n in np.searchsorted(places.ends, behind, side="right"))
    if whole <= half and len(document.title) <= TITLE_CHARACTERS * half:
        return _Head(whole, prompt, document.title, whole, end)
    most = min(half, short)
    edge = _Edges(places.words[: most + 1]).before(most)
    tokens = edge if edge > prompt else most  # a word that fills half the room is cut inside
    if tokens <= prompt:
        return _Head(min(prompt, half), prompt, "", prompt, begin)
    title = document.title[: int(places.ends[tokens - 1]) - begin]
    return _Head(tokens, prompt, title, tokens, begin + len(title))


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
