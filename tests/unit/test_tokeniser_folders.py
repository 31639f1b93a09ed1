"""Folders of tokenisers, listed and generated: ids and types are those of sentence-transformers.

Truth: AutoTokenizer of transformers, with the arguments that sentence-transformers gives it.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
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

from pipelines.core.errors import InputError
from pipelines.models import tokens as module
from pipelines.models.folder.modules import read_towers
from pipelines.models.folder.resolve import resolve_model
from pipelines.models.tokeniser_class import REGISTERED, WRONG_CLASSES
from pipelines.models.tokens import FastTokeniser
from tests.tiny_models import edit_json, write_json

TEXTS = [
    "",
    "Heat transfer, in a SUPERSONIC  boundary layer!",
    " Überschall\tStrömung … 流れ\n<pad> x [SEP]y</s> [MASK] <mask>z ",
    "naïve ``quotes'' <s>flow<unk> [CLS] [NEW] <new>New",
]
_WORDS = ["heat", "flow", "the", "Heat", "SUPERSONIC", "in", "流", "れ", "ü", "u", "ube", "naive"]
_LETTERS = [chr(c) for c in range(33, 127)]


def wordpiece(lower: bool = True, **normaliser: Any) -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "<pad>", "</s>", "<mask>"]
    pieces = [*special, *_LETTERS, *("##" + x for x in _LETTERS), *_WORDS, "##流", "##れ", "[NEW]"]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower, **normaliser)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(special[:5])
    made.post_processor = template(made, "[CLS]:0 $A:0 [SEP]:0", "$B:1 [SEP]:1")
    return made


def byte_bpe(prefix_space: bool = False) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocab = {piece: i for i, piece in enumerate([*special, *alphabet, "he", "Ġh", "Ġhe"])}
    made = Tokenizer(
        models.BPE(
            vocab,
            [("h", "e"), ("Ġ", "h"), ("Ġh", "e")],
            continuing_subword_prefix="",
            end_of_word_suffix="",
        )
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    made.add_special_tokens(special[:4])
    made.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, prefix_space)
    return made


def unigram(scheme: str = "always", lower: bool = False) -> Tokenizer:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    rest = [*_LETTERS, "▁", "▁he", "▁Heat", "ü", "流", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"]
    vocab = [
        (piece, 0.0 if i < 4 else -float(i % 7) - 1) for i, piece in enumerate([*special, *rest])
    ]
    made = Tokenizer(models.Unigram(vocab, unk_id=3))
    made.normalizer = normalizers.Lowercase() if lower else None
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme=scheme)]
    )
    made.add_special_tokens([*special, AddedToken("<mask>", lstrip=True, special=True)])
    made.post_processor = template(made, "<s> $A </s>", "</s> $B </s>")
    return made


def template(made: Tokenizer, single: str, second: str) -> Any:
    used = {piece.partition(":")[0] for piece in f"{single} {second}".split()} - {"$A", "$B"}
    known = [(token, made.token_to_id(token)) for token in sorted(used)]
    return processors.TemplateProcessing(
        single=single, pair=f"{single} {second}", special_tokens=known
    )


def save(folder: Path, model_type: str, made: Tokenizer, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {"model_type": model_type})
    made.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", config)
    return folder


def load_tokeniser(folder: Path) -> FastTokeniser:
    """That of an encoder's documents."""
    return module.load_tokeniser(read_towers(folder).documents.source)


def assert_alike(folder: Path, **arguments: Any) -> None:
    """Singles and pairs of the texts have the library's ids and types."""
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True, **arguments)
    ours = load_tokeniser(folder)
    spans = ours.encode(TEXTS)
    single, pair = ours.single_template(), ours.pair_template()
    more = {"truncation": False, "padding": False, "return_token_type_ids": True}
    for text, span in zip(TEXTS, spans, strict=True):
        wanted = theirs(text, **more)
        assert single.ids(span.ids).tolist() == wanted["input_ids"]
        assert single.types(len(span.ids)).tolist() == wanted["token_type_ids"]
    for i, j in ((0, 1), (1, 2), (3, 0)):
        wanted = theirs([TEXTS[i]], [TEXTS[j]], **more)
        ids = pair.ids(spans[i].ids, spans[j].ids).tolist()
        types = pair.types(len(spans[i].ids), len(spans[j].ids)).tolist()
        assert (ids, types) == (wanted["input_ids"][0], wanted["token_type_ids"][0])
    assert ours.typed == ("token_type_ids" in theirs.model_input_names)
    assert ours.vocab_size == max(theirs.get_vocab().values()) + 1


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
_TYPED = ["input_ids", "token_type_ids", "attention_mask"]
_NEW = {"content": "[NEW]", "lstrip": True, "rstrip": False, "single_word": False,
        "normalized": False, "special": True}  # fmt: skip


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
        ("bert", _ODD, {"tokenizer_class": "TokenizersBackend", "model_input_names": _TYPED}),
        ("bert", wordpiece(), {"model_input_names": ["input_ids"]}),
        ("bert", wordpiece(), {"cls_token": "<s>", "sep_token": "[NEW]"}),
        ("bert", wordpiece(), {"split_special_tokens": True}),
        ("bert", wordpiece(), {"extra_special_tokens": ["[NEW]"]}),
        ("bert", wordpiece(), {"additional_special_tokens": ["<new>"]}),
        ("bert", wordpiece(), {"added_tokens_decoder": {"9": _NEW}}),
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
        ("special_tokens_map.json", {"pad_token": {**_NEW, "content": "<other>"}}),
        ("special_tokens_map.json", {"additional_special_tokens": ["[NEW]"]}),
        ("added_tokens.json", {"[NEW]": 500}),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_older_files_count_where_the_library_reads_them(
    name: str, value: Any, listed: bool, tmp_path: Path
) -> None:
    made = wordpiece()
    config = {"added_tokens_decoder": _decoder(made)} if listed else {}
    write_json(save(tmp_path, "bert", made, **config) / name, value)
    assert_alike(tmp_path)


def _decoder(made: Tokenizer) -> dict[str, Any]:
    names = ("content", "lstrip", "rstrip", "single_word", "normalized", "special")
    table = made.get_added_tokens_decoder()
    return {str(i): {name: getattr(token, name) for name in names} for i, token in table.items()}


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


# Folders nobody thought of.

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
    "mask_token": st.sampled_from(["[MASK]", "<mask>", {**_NEW, "__type": "AddedToken"}]),
    "additional_special_tokens": st.lists(_TOKEN, max_size=2),
    "extra_special_tokens": st.lists(_TOKEN, max_size=2) | st.just({"x_token": "<new>"}),
    "model_input_names": st.sampled_from([_TYPED, ["input_ids", "attention_mask"]]),
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
        config["added_tokens_decoder"] = table = _decoder(made)
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
        ("tokenizer_config.json", "[1]", r"tokenizer_config\.json holds no JSON object"),
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
        ({"tokenizer_args": {"vocab_file": "/etc/passwd"}}, "asks for vocab_file = '/etc/passwd'"),
        ({"processing_kwargs": {"text": {"max_length": 9}}}, "asks for processing_kwargs"),
        ({"tokenizer_name_or_path": "other"}, "asks for tokenizer_name_or_path = 'other'"),
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
