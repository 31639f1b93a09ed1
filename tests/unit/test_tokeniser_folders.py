"""Folders of tokenisers, one by one: ids and types are the library's, or the folder is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers
from transformers import (
    BertTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)
from transformers.models.auto.tokenization_auto import (
    MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS,
    TOKENIZER_MAPPING_NAMES,
)
from transformers.utils import logging

from shardrank.core.errors import InputError
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.text import tokens as module
from shardrank.models.text.tokeniser_class import REGISTERED, WRONG_CLASSES
from tests.tiny_models import edit_json, write_json
from tests.tokenisers import (
    NEW,
    TYPED,
    assert_alike,
    byte_bpe,
    decoder,
    load_tokeniser,
    save,
    template,
    unigram,
    wordpiece,
)


@pytest.fixture
def files_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers must not be asked."""
    monkeypatch.setattr(module, "_built", lambda *_: pytest.fail("transformers was asked"))


@pytest.fixture(autouse=True, scope="module")
def silent() -> None:
    logging.set_verbosity_error()


def test_tables_are_the_librarys() -> None:
    assert {name: TOKENIZER_MAPPING_NAMES[name] for name in REGISTERED} == REGISTERED
    wrong = set(REGISTERED) & MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    assert wrong == WRONG_CLASSES


# What an actor that runs packed.py meets most: read without transformers.


def test_the_demo_model_needs_no_transformers(files_only: None) -> None:
    assert_alike(resolve_model("embedded", None))


@pytest.mark.parametrize(
    ("model_type", "made", "config"),
    [
        ("bert", wordpiece(), {}),
        ("bert", wordpiece(lower=False), {"do_lower_case": False}),
        ("bert", wordpiece(), {"tokenizer_class": "BertTokenizer", "never_split": ["Heat"]}),
        ("bert", wordpiece(), {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ("roberta", byte_bpe(), {"tokenizer_class": "RobertaTokenizerFast"}),
        ("roberta", byte_bpe(True), {"add_prefix_space": True}),
        ("xlm-roberta", unigram(), {"tokenizer_class": "XLMRobertaTokenizer"}),
        ("bert", unigram(), {"tokenizer_class": "XLMRobertaTokenizerFast"}),
        ("modernbert", byte_bpe(), {"tokenizer_class": "RobertaTokenizer"}),
    ],
)
def test_ordinary_folders_need_no_transformers(
    model_type: str, made: Tokenizer, config: Mapping[str, Any], files_only: None, tmp_path: Path
) -> None:
    assert_alike(save(tmp_path, model_type, made, **config))


@pytest.mark.parametrize(
    ("model_type", "kind", "made"),
    [
        ("bert", BertTokenizer, wordpiece()),
        ("roberta", RobertaTokenizer, byte_bpe()),
        ("xlm-roberta", XLMRobertaTokenizer, unigram()),
        ("bert", PreTrainedTokenizerFast, wordpiece()),
    ],
)
def test_what_the_library_saves_needs_no_transformers(
    model_type: str, kind: Any, made: Tokenizer, files_only: None, tmp_path: Path
) -> None:
    loaded = kind.from_pretrained(save(tmp_path / "first", model_type, made), pad_token="<pad>")
    loaded.save_pretrained(tmp_path)
    write_json(tmp_path / "config.json", {"model_type": model_type})
    assert_alike(tmp_path)


# What tokenizer_config.json says otherwise than tokenizer.json: today's code took the latter.

_ODD = wordpiece()
_ODD.post_processor = template(_ODD, "[CLS]:1 $A:1 [SEP]:1", "$B:0 [SEP]:1")


@pytest.mark.parametrize(
    ("model_type", "made", "config"),
    [
        ("bert", wordpiece(), {"do_lower_case": False}),
        ("bert", wordpiece(lower=False), {}),
        ("bert", wordpiece(), {"strip_accents": False}),
        ("bert", wordpiece(handle_chinese_chars=False), {}),
        ("bert", wordpiece(), {"tokenize_chinese_chars": False}),
        ("bert", wordpiece(clean_text=False), {"tokenizer_class": "BertTokenizerFast"}),
        ("bert", wordpiece(), {"do_lower_case": False, "tokenizer_class": "TokenizersBackend"}),
        ("bert", _ODD, {}),
        ("bert", _ODD, {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ("bert", _ODD, {"tokenizer_class": "TokenizersBackend", "model_input_names": TYPED}),
        ("bert", wordpiece(), {"model_input_names": ["input_ids"]}),
        ("bert", wordpiece(), {"cls_token": "<s>", "sep_token": "[NEW]"}),
        ("bert", wordpiece(), {"split_special_tokens": True}),
        ("bert", wordpiece(), {"extra_special_tokens": ["[NEW]"]}),
        ("bert", wordpiece(), {"additional_special_tokens": ["<new>"]}),
        ("bert", wordpiece(), {"added_tokens_decoder": {"9": NEW}}),
        ("bert", wordpiece(), {"image_token": "<new>", "tokenizer_class": "TokenizersBackend"}),
        ("bert", wordpiece(), {"nobody_knows": 1}),
        ("mpnet", wordpiece(), {"do_lower_case": False, "unk_token": "[UNK]"}),
        ("roberta", byte_bpe(), {"add_prefix_space": True}),
        ("roberta", byte_bpe(True), {}),
        ("roberta", byte_bpe(), {"split_special_tokens": True}),
        ("roberta", byte_bpe(), {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[P]"}),
        ("xlm-roberta", unigram(), {"add_prefix_space": False}),
        ("xlm-roberta", unigram(lower=True), {}),
        ("xlm-roberta", unigram("never"), {}),
        ("camembert", unigram(), {}),
        ("deberta-v2", unigram(), {"do_lower_case": True}),
        ("albert", unigram(), {"keep_accents": True}),
        ("xlnet", unigram(), {}),
        ("t5", unigram(), {}),
        ("qwen2", byte_bpe(), {"add_eos_token": True, "eos_token": "</s>"}),
        ("qwen3", byte_bpe(), {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ("llama", byte_bpe(), {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}),
        ("unheard-of", byte_bpe(), {"tokenizer_class": "PreTrainedTokenizerFast"}),
    ],
)
def test_tokens_are_the_librarys(
    model_type: str, made: Tokenizer, config: Mapping[str, Any], tmp_path: Path
) -> None:
    assert_alike(save(tmp_path, model_type, made, **config))


def test_values_that_today_was_wrong_about(tmp_path: Path) -> None:
    """One case by hand: tokenizer.json lower-cases, tokenizer_config.json says that it must not."""
    upper, lower = load_tokeniser(save(tmp_path, "bert", wordpiece(), do_lower_case=False)).encode(
        ["Heat", "heat"]
    )
    assert [x.ids.tolist() for x in (upper, lower)] != [lower.ids.tolist()] * 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("special_tokens_map.json", {"cls_token": "<s>"}),
        ("special_tokens_map.json", {"pad_token": {**NEW, "content": "<other>"}}),
        ("special_tokens_map.json", {"additional_special_tokens": ["[NEW]"]}),
        ("added_tokens.json", {"[NEW]": 500}),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_older_files_count_where_the_library_reads_them(
    name: str, value: Any, listed: bool, tmp_path: Path
) -> None:
    made = wordpiece()
    config = {"added_tokens_decoder": decoder(made)} if listed else {}
    write_json(save(tmp_path, "bert", made, **config) / name, value)
    assert_alike(tmp_path)


@pytest.mark.parametrize("key", ["tokenizer_args", "processor_kwargs"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"do_lower_case": False, "model_max_length": 9},
        {"add_eos_token": True, "eos_token": "[SEP]", "subfolder": "ignored"},
        {"split_special_tokens": True},
    ],
)
def test_arguments_of_sentence_transformers(
    key: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    config = {"tokenizer_class": "TokenizersBackend"} if "eos_token" in arguments else {}
    save(tmp_path, "bert", wordpiece(), **config)
    write_json(tmp_path / "sentence_bert_config.json", {key: arguments})
    assert_alike(tmp_path)  # no modules.json: nobody reads it
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    write_json(tmp_path / "modules.json", modules)
    arguments.pop("subfolder", None)
    assert_alike(tmp_path, **arguments)


def test_lower_casing_of_sentence_transformers_is_not_applied_twice(tmp_path: Path) -> None:
    made = byte_bpe()
    made.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    save(tmp_path, "roberta", made, tokenizer_class="PreTrainedTokenizerFast")
    write_json(tmp_path / "sentence_bert_config.json", {"do_lower_case": True})
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    before = load_tokeniser(tmp_path).fingerprint
    write_json(tmp_path / "modules.json", modules)
    assert load_tokeniser(tmp_path).fingerprint == before


# What is refused, before anything is imported.


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tokenizer.json", "{}", r"tokenizer\.json holds no complete tokeniser: there is no model"),
        ("tokenizer.json", "[]", r"tokenizer\.json holds no complete tokeniser"),
        ("tokenizer.json", '{"version": "1.0", "mod', r"tokenizer\.json holds no complete"),
        ("tokenizer.json", '{"model": {"type": "X"}}', r"tokenizer\.json holds no complete"),
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer"),
        ("vocab.txt", "version https://git-lfs.github.com/spec/v1\n", r"vocab\.txt is a git-lfs"),
        ("tokenizer_config.json", '{"a": ', r"tokenizer_config\.json cannot be read as JSON"),
        (
            "tokenizer_config.json",
            "[1]",
            r"holds a JSON list, not an object",
        ),
        ("tokenizer_config.json", '{"truncation_side": "left"}', "cuts long texts on the 'left'"),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["a.B", null]}}', "own code"),
        ("special_tokens_map.json", "nothing", r"special_tokens_map\.json cannot be read"),
    ],
)
def test_damaged_and_unsupported_files(
    name: str, text: str, message: str, files_only: None, tmp_path: Path
) -> None:
    save(tmp_path, "bert", wordpiece())
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load_tokeniser(tmp_path)


def test_a_baked_truncation_on_the_left(tmp_path: Path) -> None:
    made = wordpiece()
    made.enable_truncation(9, direction="left")
    save(tmp_path, "bert", made)
    with pytest.raises(InputError, match="cuts long texts on the 'left'"):
        load_tokeniser(tmp_path)
    edit_json(tmp_path / "tokenizer_config.json", truncation_side="right")
    assert_alike(tmp_path)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"tokenizer_args": {"vocab_file": "/etc/passwd"}}, "has vocab_file = "),
        ({"processing_kwargs": {"text": {"max_length": 9}}}, "has text = "),
        ({"tokenizer_name_or_path": "other"}, "has tokenizer_name_or_path = "),
    ],
)
def test_arguments_that_are_not_followed(
    saved: dict[str, Any], message: str, tmp_path: Path
) -> None:
    save(tmp_path, "bert", wordpiece())
    write_json(tmp_path / "sentence_bert_config.json", saved)
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    write_json(tmp_path / "modules.json", modules)
    with pytest.raises(InputError, match=message):
        load_tokeniser(tmp_path)


def test_templates_that_cannot_be_followed(tmp_path: Path) -> None:
    made = wordpiece()
    made.post_processor = template(made, "[CLS] $A $A [SEP]", "$B")
    save(tmp_path, "bert", made, tokenizer_class="PreTrainedTokenizerFast")
    with pytest.raises(InputError, match="template for 1 text cannot be followed"):
        load_tokeniser(tmp_path)


def test_a_vocabulary_without_its_unknown_word(tmp_path: Path) -> None:
    save(tmp_path, "bert", unigram(), tokenizer_class="BertTokenizer", unk_token="[NO]")
    with pytest.raises(InputError, match=r"holds no complete|gives no fast"):
        load_tokeniser(tmp_path)


def test_special_ids_beyond_the_vocabulary_are_seen(tmp_path: Path) -> None:
    made = wordpiece()
    rules = json.loads(save(tmp_path, "bert", made).joinpath("tokenizer.json").read_text())
    rules["post_processor"]["special_tokens"]["[CLS]"]["ids"] = [4000]
    write_json(tmp_path / "tokenizer.json", rules)
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "TokenizersBackend"})
    found = load_tokeniser(tmp_path)
    assert (found.largest_id, found.vocab_size) == (4000, made.get_vocab_size())


def test_fingerprints_follow_what_is_used(tmp_path: Path) -> None:
    names = {
        "plain": {},
        "idle": {"padding_side": "left", "model_max_length": 9},
        "cased": {"do_lower_case": False},
        "split": {"split_special_tokens": True},
        "untyped": {"model_input_names": ["input_ids"]},
    }
    found = {
        name: load_tokeniser(save(tmp_path / name, "bert", wordpiece(), **config)).fingerprint
        for name, config in names.items()
    }
    assert found.pop("idle") == found["plain"]
    assert len(set(found.values())) == len(found)
