"""A transformer's folder: config.json, and how sentence-transformers would call the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.reading import Keys, check_keys, read_known, read_object

#: Names of the file with the transformer's settings; the library reads the first that exists
#: (sentence-transformers 6.2, Transformer.load_config).
_CALLED = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)
#: What a transformer may be asked for: hidden states by encoders, logits by classifiers, logits of
#: every token by sparse encoders, of the next token by language models.
ENCODES, CLASSIFIES, MASKS = "feature-extraction", "sequence-classification", "fill-mask"
GENERATES = "text-generation"
_TASKS = {
    ENCODES: "token_embeddings",
    CLASSIFIES: "scores",
    MASKS: "token_embeddings",
    GENERATES: "causal_logits",
}
_CALL = Keys.of(
    "max_seq_length do_lower_case query_length document_length transformer_task modality_config "
    "module_output_name processing_kwargs processor_kwargs tokenizer_args model_kwargs model_args",
    idle="unpad_inputs",
    query_expansion=(None,),
    config_kwargs=(None, {}),
    config_args=(None, {}),
)
#: How queries are filled up, which only models of token vectors do.
_EXPANSION = Keys.of("strategy attend token length")
#: What the library passes on whenever it calls the tokeniser: to a chat template, which only
#: language models have. One logit, of the next token, is what it asks these for anyway.
_CHATTED = Keys.of("chat_template", common=({},), text=({}, {"logits_to_keep": 1}))
_UNCHATTED = Keys.of("", chat_template=({},), common=({},), text=({},))
#: Names in `chat_template` that are no variables of the template.
_NO_VARIABLES = frozenset(
    {"padding", "truncation", "max_length", "return_tensors", "tokenize", "return_dict",
     "tokenizer_kwargs", "return_assistant_tokens_mask", "sanitize_control_tokens"}
)  # fmt: skip
#: What the library may pass to the tokeniser; other arguments, such as another file's name, no.
_PROCESSOR = Keys.of(
    "add_bos_token add_eos_token add_prefix_space additional_special_tokens bos_token "
    "clean_up_tokenization_spaces cls_token do_lower_case eos_token extra_special_tokens "
    "keep_accents legacy mask_token model_input_names model_max_length pad_token padding_side "
    "sep_token split_special_tokens strip_accents tokenize_chinese_chars truncation_side "
    "unk_token use_fast",
    # What the library sets itself, whatever the file says.
    idle="cache_dir local_files_only revision subfolder token trust_remote_code",
)
#: Where and in which precision the library would run: no other values come of it.
_MODEL = Keys.of(
    "",
    idle="trust_remote_code torch_dtype dtype attn_implementation low_cpu_mem_usage device_map "
    "use_safetensors",
)
#: Keys of config.json that change what the weights mean.
_ALTERED = ("quantization_config", "compression_config", "adapter_fusion_models")


@dataclass(frozen=True)
class Call:
    """How the library calls a model, as its folder says it.

    Attributes:
        max_length: the longest input in tokens, special ones included; none: as the tokeniser.
        query_length: of a query, where that is another; likewise document_length.
        lower_case: whether texts are lower-cased before the tokeniser sees them.
        modalities: what the model takes, by the library's names; none: the folder does not say.
        processor: what the library passes to the tokeniser.
        modular: whether a modules.json lists the transformer.
        task: what the folder says that the transformer is asked for; none: it does not say.
        messages: how a chat template finds a message's text: "flat", as a string, or "structured",
            in a list of parts; none: texts go through no template, or the folder does not say.
        chat: variables that a chat template is given.
        expansion: how queries are filled up, where they are.
    """

    max_length: int | None = None
    query_length: int | None = None
    document_length: int | None = None
    lower_case: bool = False
    modalities: tuple[str, ...] | None = None
    processor: Mapping[str, Any] = field(default_factory=dict)
    modular: bool = False
    task: str | None = None
    messages: str | None = None
    chat: Mapping[str, Any] = field(default_factory=dict)
    expansion: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Layout:
    """A transformer's folder as read.

    Attributes:
        transformer: the folder with config.json, weights and tokeniser.
        config: the parsed config.json.
        call: how the library calls the model.
    """

    transformer: Path
    config: Mapping[str, Any]
    call: Call

    @cached_property
    def architecture(self) -> str:
        """The class that the weights were saved from; "" where the file names none."""
        named = self.config.get("architectures") or [""]
        return str(named[0])


def read_layout(
    folder: Path, task: str = ENCODES, plain: bool = False, expands: bool = False
) -> Layout:
    """Read a transformer's folder for a task, by transformers' name of it.

    `plain` says that there is no modules.json: the library then reads no file of its own.
    `expands`, that queries may be filled up.

    Raises:
        InputError: config.json is missing, a file is no JSON object, or says something that is
            not understood.
    """
    config = read_object(folder / "config.json")
    for name in _ALTERED:
        if config.get(name):
            raise InputError(
                f"{folder / 'config.json'} has {name}: its weights are quantised or altered, and "
                "must not be read as plain numbers.",
                "Name the model that it was made from, in float32, bfloat16 or float16.",
            )
    _refuse_relative(folder, config)
    return Layout(folder, config, Call() if plain else _call(folder, task, expands))


def _refuse_relative(folder: Path, config: Mapping[str, Any]) -> None:
    """transformers 5 computes absolute positions whatever this key says, but for ESM."""
    kind = config.get("position_embedding_type") or "absolute"
    if kind != "absolute" and config.get("model_type") != "esm":
        raise InputError(
            f"{folder / 'config.json'} has position_embedding_type = {kind!r}, and no forward pass "
            "here knows such positions.",
            "Use another model.",
        )


def called_path(folder: Path) -> Path:
    """The file that says how the library calls a transformer, or would if there were one."""
    found = (folder / name for name in _CALLED if (folder / name).is_file())
    return next(found, folder / _CALLED[0])


def _call(folder: Path, task: str, expands: bool) -> Call:
    path = called_path(folder)
    if not path.is_file():
        return Call(modular=True)
    expansion = read_object(path).get("query_expansion") if expands else None
    check_keys(path, expansion or {}, _EXPANSION)
    found = read_known(path, replace(_CALL, fixed={**_CALL.fixed, "query_expansion": (expansion,)}))
    processor = _older(path, found, "processor_kwargs", "tokenizer_args", _PROCESSOR)
    _older(path, found, "model_kwargs", "model_args", _MODEL)
    _check_task(path, found, task)
    return Call(
        max_length=processor.get("model_max_length", found.get("max_seq_length")),
        query_length=found.get("query_length"),
        document_length=found.get("document_length"),
        lower_case=bool(found.get("do_lower_case")),
        modalities=_modalities(path, found.get("modality_config"), task),
        processor={name: value for name, value in processor.items() if name in _PROCESSOR.read},
        modular=True,
        task=found.get("transformer_task"),
        messages=(found.get("modality_config") or {}).get("message", {}).get("format"),
        chat=_chat(path, found.get("processing_kwargs") or {}, task),
        expansion=expansion,
    )


def _older(
    path: Path, found: Mapping[str, Any], name: str, older: str, keys: Keys
) -> Mapping[str, Any]:
    """A table that has had two names; the older one wins, as in the library."""
    table: Mapping[str, Any] = found.get(older) or found.get(name) or {}
    check_keys(path, table, keys)
    return table


def _check_task(path: Path, found: Mapping[str, Any], task: str) -> None:
    """Raise InputError where the model is one for another task, or gives something else."""
    fixed = Keys.of("", transformer_task=(task, None), module_output_name=(_TASKS.get(task), None))
    check_keys(path, {n: found[n] for n in fixed.fixed if n in found}, fixed)


def _chat(path: Path, processing: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    """The variables of a chat template."""
    check_keys(path, processing, _CHATTED if task == GENERATES else _UNCHATTED)
    chat: Mapping[str, Any] = processing.get("chat_template") or {}
    check_keys(path, {n: v for n, v in chat.items() if n in _NO_VARIABLES}, Keys.of(""))
    return chat


def _modalities(path: Path, found: Mapping[str, Any] | None, task: str) -> tuple[str, ...] | None:
    """The modalities by name; text and messages must go through the model's own forward pass."""
    if found is None:
        return None
    output = "last_hidden_state" if task == ENCODES else "logits"
    keys = Keys.of("", idle="format", method=("forward",), method_output_name=(output,))
    for name in ("text", "message"):
        check_keys(path, found.get(name, {}), keys)
    return tuple(found)
