"""Tokenisers that nobody wrote, of both kinds that work word by word, against the library."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Encoding, Tokenizer

from shardrank.core.protocols import TokenSpans
from shardrank.kernels.word_loops import LONGEST
from shardrank.models.text.merged_words import byte_token
from shardrank.models.text.word_rules import word_rule
from shardrank.models.text.words import WordMemory
from tests.bench.texts import documents
from tests.real_weights import real_weights

BAR = "▁"
BYTES = [byte_token(byte) for byte in range(256)]
#: Letters that words begin, go on and end with; a wide one and one that only bytes have.
LETTERS = "abc.é" + BAR
TEXTS = st.lists(
    st.one_of(
        st.text("abcABC. é\n", max_size=20),
        st.text("ab 流😀e\u0301\t▁", max_size=10),
        st.text(max_size=8),
        st.just("ab" * LONGEST),
    ),
    max_size=6,
)
#: Two tokens of those before, by number: what is merged, in order.
MERGES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=40)
PIECES = st.lists(st.tuples(st.booleans(), st.text("abc1.é", min_size=1, max_size=4)), max_size=40)


def bpe(numbers: Sequence[tuple[int, int]], **changes: Any) -> Tokenizer:
    """Llama's kind; a token may hold a space anywhere."""
    tokens, merges = list(LETTERS), []
    for first, second in numbers:
        left, right = tokens[first % len(tokens)], tokens[second % len(tokens)]
        merges.append([left, right])
        tokens += [] if left + right in tokens else [left + right]
    names = ["<unk>", "<s>", *BYTES, *tokens]
    model = {"type": "BPE", "byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
    model |= {"vocab": {name: number for number, name in enumerate(names)}, "merges": merges}
    bars = [
        {"type": "Prepend", "prepend": BAR},
        {"type": "Replace", "pattern": {"String": " "}, "content": BAR},
    ]
    return _tokeniser(model | changes, {"type": "Sequence", "normalizers": bars}, None)


def wordpiece(pieces: Sequence[tuple[bool, str]], lowercase: bool, **changes: Any) -> Tokenizer:
    """BERT's kind."""
    names = ["[UNK]", "a", "##b", *("##" * inner + text for inner, text in pieces)]
    vocab = {name: number for number, name in enumerate(dict.fromkeys(names))}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "max_input_chars_per_word": 100}
    model |= {"continuing_subword_prefix": "##", "vocab": vocab}
    normaliser = {"type": "BertNormalizer", "lowercase": lowercase, "strip_accents": None}
    normaliser |= {"clean_text": True, "handle_chinese_chars": True}
    return _tokeniser(model | changes, normaliser, {"type": "BertPreTokenizer"})


def _tokeniser(model: Any, normaliser: Any, splitter: Any) -> Tokenizer:
    rules = {"version": "1.0", "added_tokens": [], "model": model, "normalizer": normaliser}
    return Tokenizer.from_str(json.dumps(rules | {"pre_tokenizer": splitter}))


def spans_of(tokeniser: Tokenizer, texts: Sequence[str]) -> list[TokenSpans | None]:
    rule = word_rule(tokeniser)
    assert rule is not None
    return WordMemory(rule).encode(texts)


def assert_as_the_library(tokeniser: Tokenizer, texts: Sequence[str]) -> None:
    wanted = tokeniser.encode_batch(texts, add_special_tokens=False)
    for spans, encoding in zip(spans_of(tokeniser, texts), wanted, strict=True):
        if spans is not None:
            assert _told(spans) == _wanted(encoding)


def _told(spans: TokenSpans) -> tuple[Any, ...]:
    places = spans.places()
    offsets = list(zip(places.starts.tolist(), places.ends.tolist(), strict=True))
    return spans.ids.tolist(), spans.end, offsets, places.words.tolist()


def _wanted(encoding: Encoding) -> tuple[Any, ...]:
    end = encoding.offsets[-1][1] if encoding.offsets else 0
    return encoding.ids, end, encoding.offsets, encoding.word_ids


@given(MERGES, TEXTS)
@settings(max_examples=120, deadline=None)
def test_merges_are_those_of_the_library(numbers: list[tuple[int, int]], texts: list[str]) -> None:
    assert_as_the_library(bpe(numbers), texts)


@given(PIECES, st.booleans(), TEXTS)
@settings(max_examples=120, deadline=None)
def test_pieces_are_those_of_the_library(
    pieces: list[tuple[bool, str]], lowercase: bool, texts: list[str]
) -> None:
    assert_as_the_library(wordpiece(pieces, lowercase), texts)


@pytest.mark.slow
@given(MERGES, PIECES, st.booleans(), TEXTS)
@settings(max_examples=2_000, deadline=None)
def test_both_are_those_of_the_library_in_many_cases(
    numbers: list[tuple[int, int]],
    pieces: list[tuple[bool, str]],
    lowercase: bool,
    texts: list[str],
) -> None:
    assert_as_the_library(bpe(numbers), texts)
    assert_as_the_library(wordpiece(pieces, lowercase), texts)


def test_every_character_is_as_the_library_has_it() -> None:
    codes = [*range(0xD800), *range(0xE000, 0x110000)][::97]
    texts = [f"{chr(code)}ab {chr(code)} b{chr(code)}\u0301c.{chr(code)}" for code in codes]
    tokeniser = bpe([(0, 1), (6, 4), (5, 7), (2, 3)])  # ab, abé, ▁abé, c.
    assert_as_the_library(tokeniser, texts)
    assert [spans is None for spans in spans_of(tokeniser, texts)] == [BAR in t for t in texts]


def test_real_tokens_of_docstrings_are_those_of_the_library() -> None:
    tokeniser = Tokenizer.from_file(str(real_weights("wordllama") / "tokenizer.json"))
    texts = documents(1_000)
    assert_as_the_library(tokeniser, texts)
    assert sum(spans is None for spans in spans_of(tokeniser, texts)) < 10


def test_what_is_longer_or_spells_a_bar_is_left_to_the_library() -> None:
    merged = bpe([(0, 1), (6, 6), (7, 7)])  # ab, abab, abababab
    texts = ["ab" * LONGEST, f"a{BAR}b", " ", "", "ab ab"]
    found = spans_of(merged, texts)
    assert [spans is None for spans in found] == [True, True, False, False, False]


def test_words_end_where_no_token_goes_on() -> None:
    text = " ".join(["a" * (LONGEST // 2)] * 3)
    assert spans_of(bpe([(0, 0)]), [text]) != [None]
    across = bpe([(0, 0), (0, 5), (7, 0)])  # aa, a▁, a▁a
    assert spans_of(across, [text]) == [None]


@pytest.mark.parametrize(
    "changes",
    [
        {"byte_fallback": False},
        {"ignore_merges": True},
        {"dropout": 0.1},
        {"continuing_subword_prefix": "##"},
        {"end_of_word_suffix": "</w>"},
    ],
)
def test_other_merges_are_left_to_the_library(changes: dict[str, Any]) -> None:
    assert word_rule(bpe([])) is not None
    assert word_rule(bpe([], **changes)) is None


def test_a_merge_of_bytes_is_left_to_the_library() -> None:
    rules = json.loads(bpe([]).to_str())
    rules["model"]["vocab"]["<0x0A><0x0A>"] = 500
    rules["model"]["merges"] = [["<0x0A>", "<0x0A>"]]
    tokeniser = Tokenizer.from_str(json.dumps(rules))
    assert tokeniser.encode("\n\n").ids[-1] == 500
    assert word_rule(tokeniser) is None


def test_words_that_are_too_long_for_the_model_are_asked_for() -> None:
    short = wordpiece([(True, "b")], lowercase=True, max_input_chars_per_word=3)
    assert_as_the_library(short, ["abb", "abbb", "abbb abb"])
