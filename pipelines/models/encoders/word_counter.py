"""Texts → their counted words, by compiled loops: a word is hashed once, when it is first met."""

import unicodedata
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32, Int32, Int64, UInt64
from shardrank.core.cards import Bm25Card
from shardrank.core.sparse import SparseRows
from shardrank.kernels.inverting_loops import lay_out
from shardrank.kernels.term_loops import BETWEEN, LETTER, MARK, count_words, cut_words, lay_back
from shardrank.kernels.word_loops import UInt8, WordTable
from shardrank.kernels.word_table import find_slots
from shardrank.models.encoders.bm25 import ENGLISH, is_letter, is_mark, without_marks

#: Room for words and for bytes of them, at first.
_WORDS, _LETTERS = 1 << 14, 1 << 17


class WordCounter:
    """Texts → terms and how often each occurs (protocol: ColumnEncoder); not for two threads at
    once. Remembers every word that it met: some 40 bytes each."""

    def __init__(self, card: Bm25Card) -> None:
        self.card = card
        self._stop_terms = _hashed(sorted(_stop_words(card)))
        self._table = _table(_WORDS, _LETTERS)
        self._terms = np.empty(0, np.uint64)

    def column(self, read: pa.Array) -> pa.Array:
        """List<Struct<term: uint64, weight: uint32>>, a row a text."""
        return self.counted(read.to_pylist()).array(pa.uint64(), pa.uint32())

    def queries(self, read: pa.Array) -> pa.Array:
        """As of documents."""
        return self.column(read)

    def counted(self, texts: Sequence[str]) -> SparseRows:
        """The terms of each text, with their numbers of occurrences."""
        words, bounds = self._cut(*self._written(texts))
        self._learn()
        numbers, counts = np.empty(len(words), np.int32), np.empty(len(words), np.float32)
        last, ends = np.full(len(self._terms), -1), np.empty(len(bounds), np.int64)
        left_out = np.isin(self._terms, self._stop_terms)
        filled = count_words(words, bounds, left_out, last, numbers, counts, ends)
        return self._ascending(ends, numbers[:filled], counts[:filled])

    def _written(self, texts: Sequence[str]) -> tuple[UInt8, Int64]:
        """The texts in lower case, composed, as UTF-8, and int64[n + 1], where each begins."""
        written, lengths = list(texts), np.fromiter(map(len, texts), np.int64, len(texts))
        plain = np.fromiter(map(str.isascii, texts), np.bool_, len(texts))
        for number in np.flatnonzero(~plain).tolist():
            written[number] = self._composed(texts[number])
            lengths[number] = len(written[number].encode("utf-8", "surrogatepass"))
        data = "".join(written).encode("utf-8", "surrogatepass").lower()  # of bytes, ASCII alone
        return np.frombuffer(data, np.uint8), np.concatenate([[0], np.cumsum(lengths)])

    def _composed(self, text: str) -> str:
        kept = without_marks(text) if self.card.marks == "drop" else text
        return unicodedata.normalize("NFC", kept.lower())

    def _cut(self, data: UInt8, bounds: Int64) -> tuple[Int32, Int64]:
        """int32[m], the numbers of all words, and int64[n + 1], where each text's begin."""
        words, ends = np.empty(len(data) // 2, np.int32), np.zeros(len(bounds), np.int64)
        kinds, done = _kinds(), 0
        while True:
            done = cut_words(data, bounds, kinds, self._table, done, words, ends)
            if done == len(bounds) - 1:
                return words[: ends[-1]], ends
            self._table = _wider(self._table, int(bounds[done + 1] - bounds[done]))

    def _learn(self) -> None:
        """Hash the words that are new in the table."""
        begins = self._table.begins[len(self._terms) : self._table.filled[0] + 1].tolist()
        letters = self._table.letters[begins[0] : begins[-1]].tobytes()
        new = [letters[begin - begins[0] : end - begins[0]] for begin, end in pairwise(begins)]
        self._terms = np.concatenate([self._terms, _hashed(new)])

    def _ascending(self, ends: Int64, numbers: Int32, counts: Float32) -> SparseRows:
        """Rows of words as rows of terms that ascend: put into lists, and back."""
        sizes = np.bincount(numbers, minlength=len(self._terms))
        used = np.flatnonzero(sizes)
        used = used[np.argsort(self._terms[used])]
        stops = np.concatenate([[0], np.cumsum(sizes[used], dtype=np.int64)])
        begins = np.empty_like(sizes)
        begins[used] = stops[:-1]
        rows, held = np.empty(len(numbers), np.int32), np.empty(len(numbers), np.float32)
        lay_out(np.arange(len(ends) - 1), ends, numbers, counts, begins, rows, held)
        terms, weights = np.empty(len(numbers), np.uint64), np.empty(len(numbers), np.float32)
        lay_back(self._terms[used], stops, rows, held, ends[:-1].copy(), terms, weights)
        return SparseRows(ends, terms, weights)


def _stop_words(card: Bm25Card) -> frozenset[bytes]:
    return frozenset(word.encode() for word in ENGLISH if card.stop_words == "english")


def _hashed(words: Sequence[bytes]) -> UInt64:
    """The terms of words: 64-bit hashes."""
    digests = b"".join([blake2b(word, digest_size=8).digest() for word in words])
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def _table(words: int, letters: int) -> WordTable:
    """Without any word, and room for so many."""
    return WordTable(
        slots=np.zeros(2 << (words - 1).bit_length(), np.int32),
        begins=np.zeros(words + 1, np.int64),
        letters=np.empty(letters, np.uint8),
        filled=np.zeros(1, np.int64),
    )


def _wider(table: WordTable, more: int) -> WordTable:
    """With the same words, and room for twice as many and more bytes."""
    count = int(table.filled[0])
    wider = _table(2 * (len(table.begins) - 1), 2 * len(table.letters) + more)
    wider.begins[: count + 1] = table.begins[: count + 1]
    wider.letters[: table.begins[count]] = table.letters[: table.begins[count]]
    wider.filled[0] = count
    find_slots(wider)
    return wider


@cache
def _kinds() -> UInt8:
    """What each character is to the loops."""
    kinds = np.full(0x110000, BETWEEN, np.uint8)
    for code in range(0x110000):
        character = chr(code)
        if is_letter(character):
            kinds[code] = LETTER
        elif is_mark(character):
            kinds[code] = MARK
    return kinds
