"""Whether transformers' tokeniser of a folder is what its tokenizer.json says, word for word.

transformers takes seconds to import, so an actor that runs packed.py asks it only where it must.
Most of its classes build their tokeniser again, from the vocabulary in tokenizer.json and their
own rules by tokenizer_config.json (transformers 5.23, tokenization_utils_tokenizers.py,
convert_to_native_format). Where these rules are the ones in tokenizer.json already, the file
serves as it is; wherever that is not certain from the files, transformers is asked.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors

from shardrank.models.text.tokeniser_files import TokeniserFiles, content

GENERIC = "TokenizersBackend"

#: transformers' own class of a model type (models/auto/tokenization_auto.py); others are asked of
#: it. It takes a model's own class where the files name one that is `_WRONG` there.
REGISTERED = {
    "bert": "BertTokenizer",
    "distilbert": "BertTokenizer",
    "electra": "BertTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
    "modernbert": GENERIC,
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
}
WRONG_CLASSES = frozenset({"modernbert", "qwen2"})
_GENERIC_NAMES = frozenset({"PreTrainedTokenizer", GENERIC})  # without Fast

#: What the classes below give a model where tokenizer_config.json says nothing.
_DEFAULT_INPUTS = ("input_ids", "attention_mask")
INPUTS = {
    GENERIC: _DEFAULT_INPUTS,
    "BertTokenizer": ("input_ids", "token_type_ids", "attention_mask"),
    "RobertaTokenizer": _DEFAULT_INPUTS,
    "XLMRobertaTokenizer": _DEFAULT_INPUTS,
}

#: Keys of tokenizer_config.json that cannot decide an id or a type of these classes.
_IDLE = frozenset(
    {"add_bos_token", "add_eos_token", "backend", "chat_template", "clean_up_tokenization_spaces",
     "do_basic_tokenize", "errors", "full_tokenizer_file", "is_local", "keep_accents", "legacy",
     "local_files_only", "max_len", "max_length", "model_max_length", "name_or_path",
     "never_split", "pad_to_multiple_of", "pad_token_type_id", "padding_side", "remove_space",
     "response_schema",
     "sp_model_kwargs", "special_tokens_map_file", "stride", "tokenizer_class", "tokenizer_file",
     "trim_offsets", "truncation_side", "truncation_strategy", "use_default_system_prompt",
     "use_fast", "verbose"}
)  # fmt: skip
#: Keys that the checks below look at.
_UNDERSTOOD = frozenset(
    {"add_prefix_space", "added_tokens_decoder", "additional_special_tokens", "do_lower_case",
     "extra_special_tokens", "model_input_names", "split_special_tokens", "strip_accents",
     "tokenize_chinese_chars"}
)  # fmt: skip
#: Arguments of sentence_bert_config.json come too late for what tokenizer.json forbids there.
_IDLE_ARGUMENTS = _IDLE - {"add_bos_token", "add_eos_token"}


@dataclass(frozen=True)
class _Built:
    """What a class builds: its parts, and its model without vocabulary and merges."""

    normaliser: Any
    pre_tokeniser: Any
    post_processor: Any
    model: Mapping[str, tuple[Any, ...]]  # name → the values that mean the same


def class_of(files: TokeniserFiles) -> str | None:
    """transformers' class for the folder, without Fast; none: only transformers can tell."""
    own = REGISTERED.get(files.model_type)
    named = (files.named_class or own or "").removesuffix("Fast")
    if own is None:
        return None
    if named == own or files.model_type in WRONG_CLASSES:
        return own
    return GENERIC if named in _GENERIC_NAMES else named


def default_inputs(files: TokeniserFiles) -> tuple[str, ...]:
    """What transformers gives a model where tokenizer_config.json names nothing."""
    return INPUTS[class_of(files) or GENERIC]


def stands_as_written(files: TokeniserFiles, backend: Tokenizer) -> bool:
    """Whether the library would tokenise as `backend`, read from the folder's tokenizer.json."""
    try:
        return _known(files) and _stands(files, backend)
    except (TypeError, ValueError, KeyError, AttributeError):  # a value of an unusual kind
        return False


def _stands(files: TokeniserFiles, backend: Tokenizer) -> bool:
    name = class_of(files)
    if name not in INPUTS:
        return False
    tokens = _tokens_with_defaults(files, name)
    present = {token.content for token in backend.get_added_tokens_decoder().values()}
    if not present.issuperset(tokens.values()) or not present.issuperset(files.special_tokens):
        return False
    if name == GENERIC:
        return backend.post_processor is not None and _listed(files, backend, exactly=False)
    return _listed(files, backend, exactly=True) and _as_built(
        _BUILDERS[name](files.values, tokens, backend), files, backend
    )


def _known(files: TokeniserFiles) -> bool:
    """Whether nothing in the files is beyond the checks of this module."""
    config = {key for key in files.config if not key.endswith("_token")}
    named = {key for key in files.named if not key.endswith("_token")}
    return (
        config <= _IDLE | _UNDERSTOOD
        and named <= {"additional_special_tokens"}
        and set(files.arguments) <= _IDLE_ARGUMENTS
        and not files.values.get("split_special_tokens")
    )


#: Special tokens that a class has where the files name no others.
_BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_ROBERTA = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>",
            "pad": "<pad>", "mask": "<mask>"}  # fmt: skip
_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    GENERIC: {},
    "BertTokenizer": _BERT,
    "RobertaTokenizer": _ROBERTA,
    "XLMRobertaTokenizer": _ROBERTA,
}


def knows_tokens(files: TokeniserFiles) -> bool:
    """Whether `named_token` says what transformers' class of the folder has."""
    return class_of(files) in _DEFAULTS


def named_token(files: TokeniserFiles, short: str) -> str | None:
    """A special token, such as the "mask", by the files or as the class has it; none: there is
    none."""
    default = _DEFAULTS[class_of(files) or GENERIC].get(short)
    found = files.values.get(f"{short}_token", default)
    return None if found is None else content(found)


def _tokens_with_defaults(files: TokeniserFiles, name: str) -> dict[str, str]:
    """Special tokens that the class has, by their short names."""
    tokens = {
        short: files.values.get(f"{short}_token", default)
        for short, default in _DEFAULTS[name].items()
    }
    if any(token is None for token in tokens.values()):
        raise ValueError(name)
    return {short: content(token) for short, token in tokens.items()}


def _listed(files: TokeniserFiles, backend: Tokenizer, exactly: bool) -> bool:
    """Whether the configuration adds no token that tokenizer.json lacks or has in another way.

    The generic class keeps tokenizer.json's own added tokens; others have only the listed ones.
    """
    present = {number: repr(t) for number, t in backend.get_added_tokens_decoder().items()}
    written = {token["id"]: token["content"] for token in files.rules["added_tokens"]}
    if any(written.get(number) != token for token, number in files.added.items()):
        return False
    if "added_tokens_decoder" not in files.config:
        return list(written) == sorted(present)
    table = files.config["added_tokens_decoder"]
    listed = {int(number): repr(AddedToken(**token)) for number, token in table.items()}
    return listed == present if exactly else set(listed.values()) <= set(present.values())


def _as_built(built: _Built, files: TokeniserFiles, backend: Tokenizer) -> bool:
    model = files.rules["model"]
    return (
        "type" in model
        and all(model.get(name, values[0]) in values for name, values in built.model.items())
        and _state(built.normaliser) == _state(backend.normalizer)
        and _state(built.pre_tokeniser) == _state(backend.pre_tokenizer)
        and _state(built.post_processor) == _state(backend.post_processor)
    )


def _state(part: Any) -> Any:
    return None if part is None else json.loads(part.__getstate__())


def _numbered(backend: Tokenizer, *tokens: str) -> list[tuple[str, int]]:
    vocabulary = backend.get_added_tokens_decoder().items()
    numbers = {token.content: number for number, token in vocabulary}
    return [(token, numbers[token]) for token in tokens]


def _bert(values: Mapping[str, Any], tokens: Mapping[str, str], backend: Tokenizer) -> _Built:
    cls, sep = tokens["cls"], tokens["sep"]
    return _Built(
        normaliser=normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=values.get("tokenize_chinese_chars", True),
            strip_accents=values.get("strip_accents"),
            lowercase=values.get("do_lower_case", True),
        ),
        pre_tokeniser=pre_tokenizers.BertPreTokenizer(),
        post_processor=processors.TemplateProcessing(
            single=f"{cls}:0 $A:0 {sep}:0",
            pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
            special_tokens=_numbered(backend, cls, sep),
        ),
        model={
            "type": ("WordPiece",),
            "unk_token": (tokens["unk"],),
            "continuing_subword_prefix": ("##",),
            "max_input_chars_per_word": (100,),
        },
    )


def _roberta(values: Mapping[str, Any], tokens: Mapping[str, str], backend: Tokenizer) -> _Built:
    prefix_space = values.get("add_prefix_space", False)
    sep, cls = _numbered(backend, tokens["sep"], tokens["cls"])
    return _Built(
        normaliser=None,
        pre_tokeniser=pre_tokenizers.ByteLevel(add_prefix_space=prefix_space),
        post_processor=processors.RobertaProcessing(
            sep, cls, values.get("trim_offsets", True), prefix_space
        ),
        model={
            "type": ("BPE",),
            "dropout": (None,),
            "unk_token": (None,),
            "continuing_subword_prefix": ("", None),
            "end_of_word_suffix": ("", None),
            "fuse_unk": (False,),
            "byte_fallback": (False,),
            "ignore_merges": (False,),
        },
    )


def _xlm_roberta(
    values: Mapping[str, Any], tokens: Mapping[str, str], backend: Tokenizer
) -> _Built:
    scheme = "always" if values.get("add_prefix_space", True) else "never"
    bos, eos = tokens["bos"], tokens["eos"]
    own = backend.normalizer
    return _Built(
        normaliser=own if isinstance(own, normalizers.Precompiled) else None,
        pre_tokeniser=pre_tokenizers.Sequence(
            [
                pre_tokenizers.WhitespaceSplit(),
                pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme),
            ]
        ),
        post_processor=processors.TemplateProcessing(
            single=[bos, "$A", eos],
            pair=[bos, "$A", eos, eos, "$B", eos],
            special_tokens=_numbered(backend, bos, eos),
        ),
        model={"type": ("Unigram",), "unk_id": (3,), "byte_fallback": (False,)},
    )


_Builder = Callable[[Mapping[str, Any], Mapping[str, str], Tokenizer], _Built]
_BUILDERS: Mapping[str, _Builder] = {
    "BertTokenizer": _bert,
    "RobertaTokenizer": _roberta,
    "XLMRobertaTokenizer": _xlm_roberta,
}
