"""The words of BM25, character by character, and how often each occurs."""

import unicodedata
from collections import Counter
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shardrank.core.model_settings import Bm25Settings
from shardrank.core.sparse import SparseRows, joined
from shardrank.models.encoders import word_counter
from shardrank.models.encoders.bm25 import read_bm25_card, without_marks
from shardrank.models.encoders.word_counter import WordCounter
from tests.hybrid import STOP_WORDS, words

_pieces = [
    "wing",
    "The",
    "is",
    "a",
    "7",
    "_",
    "é",
    "e\u0301",
    "İ",
    "ß",
    "नमस्ते",
    "ọ̀rọ̀",
    "日本語",
    "Σς",
]
_pieces += ["-", "'", " ", "\n", "\u0301", "\u200d", "²", "½", "😀", "\ud800", "x" * 300]
_texts = st.lists(st.one_of(st.sampled_from(_pieces), st.characters())).map("".join)


def counter(stop_words: str) -> WordCounter:
    return WordCounter(read_bm25_card(Bm25Settings.model_validate({"stop_words": stop_words})))


@given(st.lists(_texts, max_size=5), st.sampled_from(["english", "none"]))
@example(["", "the is", "wing Wing WING", ""], "english")
def test_words_are_counted(texts: list[str], stop_words: str) -> None:
    """Terms are numbers that stand for words: a word has one number, in any text."""
    kept = [[w for w in words(text) if w not in STOP_WORDS[stop_words]] for text in texts]
    rows = counter(stop_words).counted(texts)
    numbers: dict[str, int] = {}
    for mine, begin, end in zip(kept, rows.ends[:-1], rows.ends[1:], strict=True):
        counts = Counter(mine)
        found = dict(zip(rows.terms[begin:end].tolist(), rows.weights[begin:end], strict=True))
        assert sorted(found.values()) == sorted(counts.values())
        for word, times in counts.items():
            [number] = counter("none").counted([word]).terms.tolist()
            assert numbers.setdefault(word, number) == number
            assert found[number] == times
    assert len(set(numbers.values())) == len(numbers)


@given(st.lists(_texts, max_size=5))
def test_the_column_says_the_same(texts: list[str]) -> None:
    made, texts = counter("none"), [text.encode("utf-8", "replace").decode() for text in texts]
    rows, column = made.counted(texts), made.column(pa.array(texts, pa.string()))
    read = SparseRows.of(pa.chunked_array([column]))
    assert read.ends.tolist() == rows.ends.tolist()
    assert read.terms.tolist() == rows.terms.tolist()
    assert read.weights.tolist() == rows.weights.tolist()


def test_marks_may_be_dropped() -> None:
    """Of letters that have them, however they are composed; nothing else changes."""
    assert without_marks("ẹ̀kọ́ Café na\u0308ive Øre") == "eko Cafe naive Øre"
    kept, dropped = (WordCounter(read_bm25_card(Bm25Settings(marks=m))) for m in ("keep", "drop"))
    same = [counter.counted(["iwe ẹ̀kọ́", "ìwé eko"]) for counter in (kept, dropped)]
    terms = [[rows.terms[:2].tolist() == rows.terms[2:].tolist()] for rows in same]
    assert terms == [[False], [True]]
    assert kept.card.fingerprint != dropped.card.fingerprint


@given(st.lists(_texts, min_size=2, max_size=6), st.integers(0, 6))
def test_a_text_has_the_same_terms_in_any_batch(texts: list[str], cut: int) -> None:
    """Whatever was counted before, and whether the texts beside it are ASCII."""
    together, apart = counter("english"), counter("english")
    whole = together.counted(texts)
    again = joined([together.counted([text]) for text in texts])
    halves = joined([apart.counted(texts[cut:]), apart.counted(texts[:cut])])
    back = halves.taken(np.roll(np.arange(len(texts)), min(cut, len(texts))))
    for found in (again, back):
        assert found.ends.tolist() == whole.ends.tolist()
        assert found.terms.tolist() == whole.terms.tolist()
        assert found.weights.tolist() == whole.weights.tolist()


def test_room_is_made_for_more_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the midst of texts, and where one word is longer than all that there is room for."""
    texts = [" ".join(f"w{n} x{n % 7}" for n in range(40 * t)) for t in range(6)] + ["é" * 500]
    wide = counter("none").counted(texts)
    monkeypatch.setattr(word_counter, "_WORDS", 2)
    monkeypatch.setattr(word_counter, "_LETTERS", 4)
    narrow = counter("none").counted(texts)
    assert narrow.ends.tolist() == wide.ends.tolist()
    assert narrow.terms.tolist() == wide.terms.tolist()
    assert len(np.unique(wide.terms)) == 200 + 7 + 1


def test_terms_are_what_versions_hold() -> None:
    """The first eight bytes of BLAKE2b of a word's UTF-8, so stored ones keep their meaning."""
    for word in ("wing", "ọ̀rọ̀"):
        digest = blake2b(unicodedata.normalize("NFC", word).encode(), digest_size=8).digest()
        assert counter("none").counted([word]).terms.tolist() == [int.from_bytes(digest)]
