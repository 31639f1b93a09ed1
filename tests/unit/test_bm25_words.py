"""The words of BM25, character by character, and how often each occurs."""

import unicodedata
from collections import Counter

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from shardrank.core.model_settings import Bm25Settings
from shardrank.core.sparse import SparseRows
from shardrank.models.encoders.bm25 import read_bm25_card, without_marks
from shardrank.models.encoders.word_counter import WordCounter
from tests.hybrid import STOP_WORDS

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


def words(text: str) -> list[str]:
    """Letters, digits and underscores, and behind the first of them the marks that follow."""
    found, word = [], ""
    for character in unicodedata.normalize("NFC", text.lower()) + " ":
        mark = unicodedata.category(character).startswith("M")
        if character.isalnum() or character == "_" or (mark and word):
            word += character
        else:
            found.append(word)
            word = ""
    return [word for word in found if len(word) > 1]


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
    made = counter("none")
    rows, column = made.counted(texts), made.column(texts)
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
