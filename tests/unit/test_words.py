"""Tokens put together from remembered words, against the library's of the whole text."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Encoding, Tokenizer

from shardrank.core.protocols import TokenSpans
from shardrank.kernels.word_loops import LONGEST
from shardrank.models.folder.layout import read_layout
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.text import words as module
from shardrank.models.text.tokens import load_tokeniser
from shardrank.models.text.word_rules import word_rule
from shardrank.models.text.words import WordMemory

#: Each differs from the default in what it does with single characters.
NORMALISERS = {
    "default": {},
    "cased": {"lowercase": False},
    "accents": {"strip_accents": False},
    "stripped": {"lowercase": False, "strip_accents": True},
    "unclean": {"clean_text": False},
    "chinese": {"handle_chinese_chars": False},
}
#: Marks, controls, spaces that are none in ASCII, wide characters, letters that grow in lower case.
ODD = "\u0301\u0338\u200d\u00ad\x00\x0b\x0c\x1f\x7f\u0085\u00a0\u2028\u3000\ufffd流れ한İßΣςéÅ≠…“—😀"
PIECES = st.one_of(
    st.sampled_from(
        ["The", "the", "wing", "unbelievably", "e\u0301", "don't", "[1]", "3.14", "流れ"]
    ),
    st.text(st.sampled_from(" \t\n\r.,[]-'aZ9" + ODD), max_size=6),
    st.text(max_size=5),
)
TEXTS = st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=6)


def backend(**changes: Any) -> Tokenizer:
    path = resolve_model("embedded", None) / "tokenizer.json"
    rules = json.loads(path.read_text())
    rules |= {"truncation": None, "padding": None}
    rules["normalizer"] |= changes
    return Tokenizer.from_str(json.dumps(rules))


def memory_of(tokeniser: Any) -> WordMemory:
    rule = word_rule(tokeniser)
    assert rule is not None
    return WordMemory(rule)


MEMORIES = {name: memory_of(backend(**changes)) for name, changes in NORMALISERS.items()}
LIBRARY = {name: backend(**changes) for name, changes in NORMALISERS.items()}


def spells_a_token(text: str) -> bool:
    return any(token in text for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))


def assert_as_the_library(found: TokenSpans, wanted: Encoding) -> None:
    places = found.places()
    assert found.ids.tolist() == wanted.ids
    assert list(zip(places.starts.tolist(), places.ends.tolist(), strict=True)) == wanted.offsets
    assert places.words.tolist() == wanted.word_ids
    assert found.end == (wanted.offsets[-1][1] if wanted.offsets else 0)


@pytest.mark.parametrize("name", NORMALISERS)
@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_words_give_what_the_library_gives(name: str, texts: list[str]) -> None:
    found = MEMORIES[name].encode(texts)
    wanted = LIBRARY[name].encode_batch(texts, add_special_tokens=False)
    for text, spans, encoding in zip(texts, found, wanted, strict=True):
        words = re.split(r"[ \t\n\r!-/:-@\[-`{-~]", text)
        left = any(len(word.encode()) > LONGEST for word in words) or spells_a_token(text)
        assert (spans is None) == left
        if spans is not None:
            assert_as_the_library(spans, encoding)


def test_a_text_that_is_more_than_its_words_is_left_to_the_library() -> None:
    memory = memory_of(backend())
    fits, long = "ü" * (LONGEST // 2), "ü" * (LONGEST // 2) + "x"
    found = memory.encode(["a [MASK] b", f"before {long} after", fits, f"a\n{fits}", "[mask]"])
    assert [spans is None for spans in found] == [True, True, False, False, False]


@pytest.mark.parametrize(("room", "letters"), [(4, 4_096), (4_096, 16)])
def test_a_full_memory_refuses_texts_and_is_emptied_for_the_next(
    monkeypatch: pytest.MonkeyPatch, room: int, letters: int
) -> None:
    monkeypatch.setattr(module, "_WORDS", room)
    monkeypatch.setattr(module, "_LETTERS", letters)
    memory, library = memory_of(backend()), LIBRARY["default"]
    texts = [f"w{number}x wing w{number + 1}x" for number in range(40)]
    kept = 0
    for begin in range(0, 40, 4):
        batch = texts[begin : begin + 4]
        wanted = library.encode_batch(batch, add_special_tokens=False)
        for spans, encoding in zip(memory.encode(batch), wanted, strict=True):
            if spans is not None:
                assert_as_the_library(spans, encoding)
                kept += 1
    assert 18 <= kept <= 30
    assert memory.encode([" ".join(map(str, range(100)))]) == [None]


class Counting:
    """A tokeniser that counts what it is asked."""

    def __init__(self) -> None:
        self._backend = backend()
        self.asked: list[str] = []

    def to_str(self) -> str:
        return self._backend.to_str()

    def encode_batch(self, texts: Sequence[str], **how: Any) -> list[Encoding]:
        self.asked += texts
        return self._backend.encode_batch(texts, **how)


def test_the_library_is_asked_once_for_a_word_that_is_not_ascii() -> None:
    counting = Counting()
    memory = memory_of(counting)
    memory.encode(["a wíng, a wing", "a Wíng"])
    memory.encode(["Wíng, wíng\na wing"])
    assert counting.asked == ["wíng Wíng"]


def test_a_tokeniser_remembers_when_it_is_asked_for_much(monkeypatch: pytest.MonkeyPatch) -> None:
    tokeniser = load_tokeniser(read_layout(resolve_model("embedded", None)))
    texts = ["flow over a wing", "a [SEP] b", "x" * 2 * LONGEST, "", "…"]
    few = tokeniser.encode(texts)
    calls = _count_calls(monkeypatch)
    many = tokeniser.encode(texts * 4_000)
    assert calls == [20_000]
    for one, other in zip(few * 4_000, many, strict=True):
        assert np.array_equal(one.ids, other.ids)
        assert one.end == other.end


def _count_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    encode = WordMemory.encode

    def counted(self: WordMemory, texts: Sequence[str]) -> list[TokenSpans | None]:
        calls.append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(WordMemory, "encode", counted)
    return calls


def test_only_what_is_known_to_be_exact_is_remembered() -> None:
    assert word_rule(backend())
    for key, value in (("normalizer", {"type": "NFC"}), ("pre_tokenizer", {"type": "Whitespace"})):
        rules = json.loads(backend().to_str()) | {key: value}
        assert not word_rule(Tokenizer.from_str(json.dumps(rules)))
    for lowers in (True, False):  # matched across spaces, which words are asked for with
        with_words = backend()
        with_words.add_tokens([AddedToken("supersonic flow", normalized=lowers)])
        assert not word_rule(with_words)


def _every_character(step: int) -> list[str]:
    """Texts that have every `step`-th character, behind, between and before letters."""
    codes = [*range(0xD800), *range(0xE000, 0x110000)][::step]
    words = [f"a{chr(code)}b {chr(code)}é {chr(code)}" for code in codes]
    return [" ".join(words[at : at + 50]) for at in range(0, len(words), 50)]


@pytest.mark.parametrize("step", [97, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NORMALISERS)
def test_every_character_is_as_the_library_has_it(name: str, step: int) -> None:
    memory, texts = memory_of(LIBRARY[name]), _every_character(step)
    for at in range(0, len(texts), 1_000):  # so many new words have room
        batch = texts[at : at + 1_000]
        wanted = LIBRARY[name].encode_batch(batch, add_special_tokens=False)
        for spans, encoding in zip(memory.encode(batch), wanted, strict=True):
            assert spans is not None
            assert_as_the_library(spans, encoding)
