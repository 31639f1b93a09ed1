"""Tokens word by word, each word spelt once and remembered: most words of a corpus were met before.

`word_rules.py` says which tokenisers work so. Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, pairwise

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.protocols import TokenPlaces, TokenSpans
from shardrank.kernels.word_loops import (
    FoundWords,
    Tokens,
    WordTable,
    find_words,
    lay_ids,
    lay_places,
)
from shardrank.models.text.word_rules import WordRule
from shardrank.models.text.word_tokens import WordTokens

#: Room for words and for bytes of them. Half of it may be filled when a call begins: some 30 MB.
_WORDS, _LETTERS = 1 << 19, 1 << 22


class WordMemory:
    """The words that were met; not for two threads at once."""

    def __init__(self, rule: WordRule) -> None:
        """Begin with none."""
        self._rule = rule
        self._left = [token.encode() for token in rule.left]
        self._forget()

    def encode(self, texts: Sequence[str]) -> list[TokenSpans | None]:
        """Each text's tokens without special tokens, equal to what the library gives.

        None for a text that is more than its words, as it spells an added token such as [MASK],
        and for one with a word so long, or so many, that there is no room for them.
        """
        if not texts:
            return []
        if 2 * self._table.filled[0] > _WORDS or 2 * self._letters > _LETTERS:
            self._forget()
        raw = [(self._rule.lead + text).encode() if text else b"" for text in texts]
        more = self._more(raw)
        found = self._find([b"" if i in more else text for i, text in enumerate(raw)])
        found.refused[list(more)] = True
        self._learn()
        return self._spans(found)

    def _forget(self) -> None:
        self._table = WordTable(
            slots=np.zeros(2 * _WORDS, np.int32),
            begins=np.zeros(_WORDS + 1, np.int64),
            letters=np.empty(_LETTERS, np.uint8),
            filled=np.zeros(1, np.int64),
        )
        self._known = WordTokens()

    @property
    def _letters(self) -> int:
        return int(self._table.begins[self._table.filled[0]])

    def _more(self, raw: Sequence[bytes]) -> set[int]:
        """Which texts are more than their words; most often none is, which one look tells."""
        together = b"\0".join(raw)
        left = [token for token in self._left if token in together]
        return {i for i, text in enumerate(raw) if any(token in text for token in left)}

    def _find(self, raw: Sequence[bytes]) -> FoundWords:
        data = b"".join(raw)
        bounds = np.array([0, *accumulate(map(len, raw))], np.int64)
        found = FoundWords(
            words=np.empty(len(data), np.int32),
            places=np.empty(len(data), np.int32),
            ends=np.empty(len(raw), np.int64),
            refused=np.empty(len(raw), np.bool_),
        )
        find_words(np.frombuffer(data, np.uint8), bounds, self._rule.cuts, self._table, found)
        return found

    def _learn(self) -> None:
        """Have the words spelt that are new in the table."""
        begins = self._table.begins[self._known.count : self._table.filled[0] + 1]
        letters = self._table.letters[begins[0] : begins[-1]]
        self._known.add(self._rule.speller.spell(letters, begins - begins[0]))

    def _spans(self, found: FoundWords) -> list[TokenSpans | None]:
        tokens, lead, count = self._known.tokens, len(self._rule.lead), len(found.ends)
        bounds, stops = np.zeros(count + 1, np.int64), np.empty(count, np.int64)
        # Apart from where they lie, as they are kept for longer.
        ids = lay_ids(found, tokens, lead, bounds, stops)
        lie = _Lying(found, tokens, lead, len(ids)).places
        rows = zip(pairwise(bounds.tolist()), stops.tolist(), found.refused.tolist(), strict=True)
        return [
            None if refused else TokenSpans(ids[begin:end], stop, partial(lie, begin, end))
            for (begin, end), stop, refused in rows
        ]


@dataclass(frozen=True, eq=False)
class _Lying:
    """Where the tokens of a call's texts lie: worked out if one of them must be cut."""

    found: FoundWords
    tokens: Tokens
    lead: int
    size: int

    def places(self, begin: int, end: int) -> TokenPlaces:
        starts, ends, words = self._all[:, begin:end]
        return TokenPlaces(starts, ends, words)

    @cached_property
    def _all(self) -> Int32:
        places = np.empty((3, self.size), np.int32)
        lay_places(self.found, self.tokens, self.lead, places)
        return places
