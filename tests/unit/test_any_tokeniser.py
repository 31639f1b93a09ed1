"""Folders of tokenisers that nobody thought of: ids and types are the library's."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from shardrank.core.errors import InputError
from tests.tokenisers import (
    NEW,
    TEXTS,
    TYPED,
    assert_alike,
    byte_bpe,
    decoder,
    load_tokeniser,
    save,
    unigram,
    wordpiece,
)

_FLAGS = {name: st.booleans() for name in ("lstrip", "rstrip", "single_word", "normalized",
                                           "special")}  # fmt: skip
_TOKEN = st.sampled_from(["[CLS]", "[SEP]", "<s>", "</s>", "[NEW]", "<new>", "<pad>", "[UNK]"])
_KEYS: Mapping[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ("do_lower_case", "tokenize_chinese_chars", "add_prefix_space", "split_special_tokens",
         "add_bos_token", "add_eos_token", "keep_accents", "legacy", "trim_offsets"),
        st.booleans(),
    ),
    **dict.fromkeys(("cls_token", "sep_token", "pad_token", "eos_token", "x_token"), _TOKEN),
    "strip_accents": st.sampled_from([None, True, False]),
    "mask_token": st.sampled_from(["[MASK]", "<mask>", {**NEW, "__type": "AddedToken"}]),
    "additional_special_tokens": st.lists(_TOKEN, max_size=2),
    "extra_special_tokens": st.lists(_TOKEN, max_size=2) | st.just({"x_token": "<new>"}),
    "model_input_names": st.sampled_from([TYPED, ["input_ids", "attention_mask"]]),
    "padding_side": st.sampled_from(["left", "right"]),
    "nobody_knows": st.just(0.5),
}  # fmt: skip
_MADE = {
    "wordpiece": st.builds(
        wordpiece,
        st.booleans(),
        strip_accents=st.sampled_from([None, True, False]),
        handle_chinese_chars=st.booleans(),
    ),
    "bpe": st.builds(byte_bpe, st.booleans()),
    "unigram": st.builds(unigram, st.sampled_from(["always", "never", "first"]), st.booleans()),
}
_TYPES = {
    "wordpiece": ["bert", "distilbert", "electra", "mpnet"],
    "bpe": ["roberta", "modernbert", "qwen2", "qwen3", "deberta"],
    "unigram": ["xlm-roberta", "camembert", "albert", "xlnet", "bert"],
}
_CLASSES = {
    "wordpiece": ["BertTokenizer", "PreTrainedTokenizerFast", "BertTokenizerFast", "Nonsense"],
    "bpe": ["RobertaTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend"],
    "unigram": ["XLMRobertaTokenizer", "PreTrainedTokenizerFast", "XLMRobertaTokenizerFast"],
}


@st.composite
def folders(draw: st.DrawFn) -> tuple[str, Tokenizer, dict[str, Any]]:
    """A model type, a tokenizer.json and a tokenizer_config.json, mostly of one mind."""
    kind = draw(st.sampled_from(sorted(_MADE)))
    made = draw(_MADE[kind])
    names = draw(st.lists(st.sampled_from(sorted(_KEYS)), max_size=3, unique=True))
    config = {name: draw(_KEYS[name]) for name in names}
    named = draw(st.sampled_from([None, *_CLASSES[kind]]))
    if named is not None:
        config["tokenizer_class"] = named
    if draw(st.booleans()):
        config["added_tokens_decoder"] = table = decoder(made)
        if draw(st.booleans()):
            token = draw(st.fixed_dictionaries({"content": _TOKEN, **_FLAGS}))
            table[draw(st.sampled_from([*table, "400"]))] = token
    if draw(st.booleans()):
        made.enable_truncation(5)
        made.enable_padding(length=9, pad_id=1, pad_token="<pad>")
    return draw(st.sampled_from(_TYPES[kind])), made, config


def assert_alike_or_both_refuse(case: tuple[str, Tokenizer, dict[str, Any]]) -> None:
    model_type, made, config = case
    with tempfile.TemporaryDirectory() as name:
        folder = save(Path(name), model_type, made, **config)
        try:
            theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            theirs(TEXTS)
        except Exception:
            with pytest.raises(InputError):
                load_tokeniser(folder)
        else:
            assert_alike(folder)


@given(folders())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_folder(case: tuple[str, Tokenizer, dict[str, Any]]) -> None:
    assert_alike_or_both_refuse(case)


@pytest.mark.slow
@given(folders())
@settings(max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_folder_at_length(case: tuple[str, Tokenizer, dict[str, Any]]) -> None:
    assert_alike_or_both_refuse(case)
