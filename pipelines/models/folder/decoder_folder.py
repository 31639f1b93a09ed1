"""A causal language model as its folder has it, for what asks for its logits or has it write."""

from dataclasses import dataclass

from shardrank.core.errors import InputError, SettingsError
from shardrank.models.folder import limits
from shardrank.models.folder.layout import Layout, read_layout
from shardrank.models.folder.plain_decoder import Config, is_plain_decoder
from shardrank.models.folder.reading import read_object
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.folder.weights import find_weights

#: What classes are called that make the logits of each next token.
_CLASSES = ("ForCausalLM", "LMHeadModel")
#: Where several models are one, such as for images and text.
_PARTS = ("vision_config", "audio_config", "text_config", "encoder", "decoder")


@dataclass(frozen=True)
class DecoderFolder:
    """A decoder's folder as read.

    Attributes:
        layout: of the model; its tokeniser lies in the same folder.
        notes: what is not read, as sentences for people.
    """

    layout: Layout
    notes: tuple[str, ...]


def read_decoder_folder(model: str, revision: str | None) -> DecoderFolder:
    """The folder of a causal language model: by its path, or by its name on the hub.

    Which families run needs no list, as for encoders: what is not run by our own forward pass is
    run by transformers, and held against it when it is loaded (library_decoder.py).

    Raises:
        InputError: there is no such model, it is no causal language model, its weights are
            quantised or no safetensors, or its files say something that is not understood.
    """
    layout = read_layout(resolve_model(model, revision), plain=True)
    _check_class(layout)
    found = find_weights(layout.transformer)
    others = ", ".join(found.others)
    note = f"{layout.transformer} holds other weights that are not read: {others}."
    return DecoderFolder(layout, (note,) if others else ())


def answer_ends(layout: Layout) -> frozenset[int]:
    """The tokens that end an answer: those of generation_config.json, else of config.json."""
    path = layout.transformer / "generation_config.json"
    said = read_object(path, optional=True).get("eos_token_id")
    ends = layout.config.get("eos_token_id") if said is None else said
    return frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])


def decoder_dtype(config: Config, setting: str, halve: bool) -> str:
    """The type of the forward pass: "fp32", "bf16" or "fp16".

    "auto" takes bf16 where `halve` asks for it and llama.py runs the model, whose sums stay in
    float32; else the type of the files, but fp32 for fp16 as `limits.dtype` says.

    Raises:
        SettingsError: "int8", which no decoder runs in.
    """
    if setting == "int8":
        raise SettingsError(
            "dtype = int8 is for BERT's family, not for language models.", "Set dtype = bf16."
        )
    if setting != "auto":
        return setting
    return "bf16" if halve and is_plain_decoder(config) else limits.own_dtype(config)


def _check_class(layout: Layout) -> None:
    parts = [part for part in _PARTS if isinstance(layout.config.get(part), dict)]
    if parts or layout.config.get("is_encoder_decoder"):
        raise InputError(
            f"{layout.transformer} is several models in one ({', '.join(parts) or 'an encoder'} "
            "beside the decoder).",
            "Name a language model that reads text alone.",
        )
    if not layout.architecture.endswith(_CLASSES):
        raise InputError(
            f"{layout.transformer} is a {layout.architecture or 'model that names no class'}, and "
            "no causal language model (…ForCausalLM).",
            "Name a language model's folder.",
        )
