"""Texts as counted words, which BM25 weights by how rare they are when they are searched for.

A word is a letter, digit or underscore and at least one more, or one of the combining marks that
belong to them, in lower case (Python's \\w has no marks, so words of Hindi or Yoruba would fall
apart). Languages written without spaces are not split. A term is a word's 64-bit hash: among 100
million different words two share one in 1 of 3,700 collections.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import blake2b
from itertools import chain

import numpy as np
import pyarrow as pa

from shardrank.core.cards import Bm25Card
from shardrank.core.fingerprint import fingerprint
from shardrank.core.model_settings import Bm25Settings
from shardrank.core.sparse import SparseRows, added

#: Lucene's English ones, which bm25s leaves out by default.
ENGLISH = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then "  # noqa: SIM905
    "there these they this to was will with".split()
)


def read_bm25_card(settings: Bm25Settings) -> Bm25Card:
    """What decides which words a text has."""
    deciding = [settings.stop_words, settings.marks, unicodedata.unidata_version]
    name = fingerprint(["bm25-1", *deciding])
    return Bm25Card(settings.name, name, settings.stop_words, settings.marks)


class WordCounter:
    """Texts → terms and how often each occurs (protocol: ColumnEncoder)."""

    def __init__(self, card: Bm25Card) -> None:
        self.card = card
        self._left_out = ENGLISH if card.stop_words == "english" else frozenset[str]()
        self._numbers: dict[str, int] = {}
        self._terms: list[int] = []

    def column(self, texts: Sequence[str]) -> pa.Array:
        """List<Struct<term: uint64, weight: uint32>>, a row a text."""
        return self.counted(texts).array(pa.uint64(), pa.uint32())

    def queries(self, texts: Sequence[str]) -> pa.Array:
        """As of documents."""
        return self.column(texts)

    def counted(self, texts: Sequence[str]) -> SparseRows:
        """The terms of each text, with their numbers of occurrences."""
        words = [
            [w for w in _words(self._written(text)) if w not in self._left_out] for text in texts
        ]
        rows = np.repeat(np.arange(len(words)), [len(found) for found in words])
        numbers = np.fromiter(map(self._number, chain.from_iterable(words)), np.int64, len(rows))
        terms = np.array(self._terms, np.uint64)[numbers]
        return added(rows, terms, np.ones(len(terms), np.float32), len(words))

    def _written(self, text: str) -> str:
        return without_marks(text) if self.card.marks == "drop" else text

    def _number(self, word: str) -> int:
        """A word is hashed once."""
        number = self._numbers.get(word)
        if number is None:
            number = self._numbers[word] = len(self._terms)
            self._terms.append(_term(word))
        return number


def without_marks(text: str) -> str:
    """The text with its letters alone: é is e."""
    parted = unicodedata.normalize("NFD", text)
    return "".join(each for each in parted if unicodedata.category(each) != "Mn")


def _words(text: str) -> Iterator[str]:
    return (found.group() for found in _word().finditer(unicodedata.normalize("NFC", text.lower())))


def _term(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _marks() -> str:
    """Unicode's combining marks, as ranges of a regular expression."""
    marks = [unicodedata.category(chr(n))[0] == "M" for n in range(sys.maxunicode + 1)]
    edges = np.flatnonzero(np.diff(np.array([False, *marks, False]).astype(np.int8)))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return "".join(f"\\U{begin:08x}-\\U{end - 1:08x}" for begin, end in pairs)


@cache
def _word() -> re.Pattern[str]:
    return re.compile(rf"\w[\w{_marks()}]+")
