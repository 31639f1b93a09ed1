"""The tokens of words, kept as they come."""

from typing import Protocol

import numpy as np

from shardrank.core.arrays import Int64
from shardrank.kernels.word_loops import Tokens, UInt8


class Speller(Protocol):
    """Says what a tokeniser makes of words."""

    def spell(self, letters: UInt8, begins: Int64) -> Tokens:
        """The tokens of each word.

        Args:
            letters: the UTF-8 of all words.
            begins: int64[n + 1]; word w is letters[begins[w] : begins[w + 1]].
        """


class WordTokens:
    """The tokens of words 0, 1, 2, … of a table, in arrays with room for more."""

    def __init__(self) -> None:
        self.count = 0  # words
        self.tokens = _room(words=1, tokens=1)

    def add(self, new: Tokens) -> None:
        """Keep those of the words that come next."""
        filled, count = int(self.tokens.begins[self.count]), self.count + len(new.sizes)
        size = filled + len(new.ids)
        if count > len(self.tokens.sizes) or size > len(self.tokens.ids):
            self.tokens = _grown(self.tokens, self.count, _room(2 * count, 2 * size))
        self.tokens.begins[self.count + 1 : count + 1] = new.begins[1:] + filled
        self.tokens.sizes[self.count : count] = new.sizes
        self.tokens.ids[filled:size] = new.ids
        self.tokens.places[:, filled:size] = new.places
        self.count = count


def _room(words: int, tokens: int) -> Tokens:
    """For so many; none is in it."""
    return Tokens(
        begins=np.zeros(words + 1, np.int64),
        sizes=np.empty(words, np.int32),
        ids=np.empty(tokens, np.int32),
        places=np.empty((3, tokens), np.int32),
    )


def _grown(old: Tokens, count: int, new: Tokens) -> Tokens:
    """The first `count` words of `old` in `new`, which has more room."""
    filled = old.begins[count]
    new.begins[: count + 1], new.sizes[:count] = old.begins[: count + 1], old.sizes[:count]
    new.ids[:filled], new.places[:, :filled] = old.ids[:filled], old.places[:, :filled]
    return new
