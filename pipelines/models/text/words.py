"""BERT's tokens word by word, each word asked of the `tokenizers` library once and remembered.

BERT's normaliser changes characters one by one, its pre-tokeniser splits at white space and
punctuation, and WordPiece (Wu et al. 2016, arXiv:1609.08144) looks at one word at a time. So a
text's tokens are those of the pieces between its ASCII spaces and punctuation, and most pieces of
a corpus were met before. Imports no torch.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise

import numpy as np
from tokenizers import Encoding, Tokenizer

from shardrank.core.arrays import Int32, Int64
from shardrank.core.protocols import TokenPlaces, TokenSpans
from shardrank.kernels.word_loops import (
    ALONE,
    INSIDE,
    SPACE,
    FoundWords,
    Tokens,
    UInt8,
    WordTable,
    find_words,
    lay_out,
)

#: Room for words and for bytes of them. Half of it may be filled when a call begins: some 30 MB.
_WORDS, _LETTERS = 1 << 19, 1 << 22

#: Words that the library is asked for at once: one by one, they take twice as long.
_LINE = 128

#: Begin and end of no token.
_NOWHERE = np.empty((0, 2), np.int32)

_SPACES = b" \t\n\r"
_PUNCTUATION = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def works_word_by_word(backend: Tokenizer) -> bool:
    """Whether a text's tokens are those of its words: BERT's normaliser, splitter, WordPiece."""
    rules = json.loads(backend.to_str())
    normaliser = rules["normalizer"] or {}
    steps = [step.get("type") for step in normaliser.get("normalizers", [normaliser])]
    return (
        steps in (["BertNormalizer"], ["Lowercase", "BertNormalizer"])
        and (rules["pre_tokenizer"] or {}).get("type") == "BertPreTokenizer"
        and rules["model"]["type"] == "WordPiece"
        and not any(t["normalized"] or " " in t["content"] for t in rules["added_tokens"])
    )


class WordMemory:
    """The words that a tokeniser was asked for; not for two threads at once."""

    def __init__(self, backend: Tokenizer) -> None:
        """Begin with none; `backend` must be one that `works_word_by_word`."""
        self._backend = backend
        self._added = [token.content for token in backend.get_added_tokens_decoder().values()]
        self._kinds = _kinds_of_bytes()
        self._forget()

    def encode(self, texts: Sequence[str]) -> list[TokenSpans | None]:
        """Each text's tokens without special tokens, equal to what the library gives.

        None for a text that is more than its words, as it spells an added token such as [MASK],
        and for one with a word so long, or so many, that there is no room for them.
        """
        if 2 * self._table.filled[0] > _WORDS or 2 * self._letters > _LETTERS:
            self._forget()
        plain = [not any(token in text for token in self._added) for text in texts]
        raw = [text.encode() if simple else b"" for text, simple in zip(texts, plain, strict=True)]
        found = self._find(raw)
        self._learn()
        known = np.logical_and(plain, ~found.refused)
        spans = self._spans(found)
        return [span if good else None for span, good in zip(spans, known, strict=True)]

    def _forget(self) -> None:
        self._table = WordTable(
            slots=np.zeros(2 * _WORDS, np.int32),
            begins=np.zeros(_WORDS + 1, np.int64),
            letters=np.empty(_LETTERS, np.uint8),
            filled=np.zeros(1, np.int64),
        )
        self._tokens = _tokens_of([], [])

    @property
    def _letters(self) -> int:
        return int(self._table.begins[self._table.filled[0]])

    def _find(self, raw: Sequence[bytes]) -> FoundWords:
        data = b"".join(raw)
        bounds = np.array([0, *accumulate(map(len, raw))], np.int64)
        found = FoundWords(
            words=np.empty(len(data), np.int32),
            places=np.empty(len(data), np.int32),
            ends=np.empty(len(raw), np.int64),
            refused=np.empty(len(raw), np.bool_),
        )
        find_words(np.frombuffer(data, np.uint8), bounds, self._kinds, self._table, found)
        return found

    def _learn(self) -> None:
        """Ask the library for the words that are new in the table."""
        begins = self._table.begins[len(self._tokens.sizes) : self._table.filled[0] + 1].tolist()
        letters = self._table.letters[begins[0] : begins[-1]].tobytes()
        new = [letters[a - begins[0] : b - begins[0]].decode() for a, b in pairwise(begins)]
        lines = [" ".join(new[at : at + _LINE]) for at in range(0, len(new), _LINE)]
        asked = self._backend.encode_batch(lines, add_special_tokens=False)
        self._tokens = _joined(self._tokens, _tokens_of(new, asked))

    def _spans(self, found: FoundWords) -> Iterator[TokenSpans]:
        filled = found.words[: found.ends[-1] if len(found.ends) else 0]
        sizes = np.diff(self._tokens.begins)  # tokens of each word
        total = int(sizes[filled].sum())
        # Apart, as ids are kept for longer.
        ids, places = np.empty(total, np.int32), np.empty((3, total), np.int32)
        bounds = np.zeros(len(found.ends) + 1, np.int64)
        lay_out(found, self._tokens, ids, places, bounds)
        starts, ends, words = places
        for a, b in pairwise(bounds.tolist()):
            lie = partial(TokenPlaces, starts[a:b], ends[a:b], words[a:b])
            yield TokenSpans(ids[a:b], int(ends[b - 1]) if b > a else 0, lie)


def _kinds_of_bytes() -> UInt8:
    kinds = np.full(256, INSIDE, np.uint8)
    kinds[list(_SPACES)] = SPACE
    kinds[list(_PUNCTUATION)] = ALONE
    return kinds


def _tokens_of(words: Sequence[str], lines: Sequence[Encoding]) -> Tokens:
    """Of words that were asked for in lines of `_LINE`, with a space between two."""
    firsts = np.array([0, *accumulate(len(word) + 1 for word in words)], np.int32)[:-1]
    offsets = [np.array(line.offsets, np.int32).reshape(-1, 2) for line in lines]
    places = np.concatenate([o + firsts[n * _LINE] for n, o in enumerate(offsets)] or [_NOWHERE])
    owners = np.searchsorted(firsts, places[:, 0], side="right") - 1  # each token's word
    begins = np.searchsorted(owners, np.arange(len(words) + 1))
    numbers = np.array([number for line in lines for number in line.word_ids], np.int32)
    parts = numbers - numbers[begins[owners]]
    return Tokens(
        begins=begins.astype(np.int64),
        ids=np.array([i for line in lines for i in line.ids], np.int32),
        starts=places[:, 0] - firsts[owners],
        ends=places[:, 1] - firsts[owners],
        parts=parts,
        sizes=_sizes(begins, parts),
    )


def _sizes(begins: Int64, parts: Int32) -> Int32:
    """How many words the tokeniser makes of each: the last token's number + 1, 0 without tokens."""
    sizes = np.zeros(len(begins) - 1, np.int32)
    last = begins[1:][np.diff(begins) > 0] - 1
    sizes[np.diff(begins) > 0] = parts[last] + 1
    return sizes


def _joined(first: Tokens, second: Tokens) -> Tokens:
    begins = np.concatenate([first.begins, second.begins[1:] + first.begins[-1]])
    rest = zip(first[1:], second[1:], strict=True)
    return Tokens(begins, *(np.concatenate(pair) for pair in rest))
