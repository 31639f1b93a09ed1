"""The folder of a model of pictures and texts, CLIP or SigLIP, as transformers saves it or
sentence-transformers around it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.core.image_settings import ImageSettings
from shardrank.models.folder.layout import Layout, read_layout
from shardrank.models.folder.picture_input import PictureInput, read_picture_input
from shardrank.models.folder.reading import Keys, read_json, read_known, read_object
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.text.tokeniser_files import content

#: Modules of sentence-transformers that are such a model and nothing else (6.2, and before 5.4).
_MODULES = (
    "sentence_transformers.models.CLIPModel",
    "sentence_transformers.sentence_transformer.modules.clip_model.CLIPModel",
    "sentence_transformers.base.modules.transformer.Transformer",
)
_MODALITIES = {
    name: {"method": f"get_{name}_features", "method_output_name": "pooler_output"}
    for name in ("text", "image")
}
_CALL = Keys.of(
    "",
    transformer_task=("feature-extraction", None),
    modality_config=(_MODALITIES, None),
    module_output_name=("sentence_embedding", None),
)
_SENTENCES = Keys.of(
    "prompts",
    idle="__version__ model_type requirements",
    default_prompt_name=(None,),
    similarity_fn_name=("cosine", None),
    truncate_dim=(None,),
)

#: What transformers 5.23 takes where config.json is silent.
_TEXT_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "clip": {"max_position_embeddings": 77, "vocab_size": 49408, "eos_token_id": 49407},
    "siglip": {"max_position_embeddings": 64, "vocab_size": 32000, "hidden_size": 768},
}
_VISION_DEFAULTS: Mapping[str, Any] = {"image_size": 224, "num_channels": 3, "hidden_size": 768}
_PATCHES: Mapping[str, int] = {"clip": 32, "siglip": 16}
_FAMILIES = ", ".join(_TEXT_DEFAULTS)
#: The end token of CLIP as its first config.json had it: the largest id is looked for then.
_OLD_END = 2


@dataclass(frozen=True)
class TextInput:
    """How texts become a model's input.

    Attributes:
        positions: the longest text in tokens, special ones included.
        vocabulary: ids that the model has vectors for.
        filler: the token that every text is filled up with to `positions`; none: texts are as long
            as they are.
        masked: whether the model is told what was filled up.
        end: the id that a text's vector is taken at; none: at the last position.
    """

    positions: int
    vocabulary: int
    filler: str | None
    masked: bool
    end: int | None

    def looked_for(self, largest: int) -> int | None:
        """The id that a text's vector is taken at, of a tokeniser with this largest id."""
        return largest if self.end == _OLD_END else self.end


@dataclass(frozen=True)
class ImageFolder:
    """A model's folder as read.

    Attributes:
        layout: config.json, weights and tokeniser.
        family: "clip" or "siglip".
        dim: components of a vector.
        patches: that a picture is taken as, about: tokens of its tower.
        pictures, texts: how both are put in.
    """

    layout: Layout
    family: str
    dim: int
    patches: int
    pictures: PictureInput
    texts: TextInput


def read_image_folder(settings: ImageSettings) -> ImageFolder:
    """The folder of the model of pictures and texts that the settings name.

    Raises:
        InputError: there is no such model, or its files say something that is not understood.
    """
    root = _inner(resolve_model(settings.model, settings.revision))
    layout = read_layout(root, plain=True)
    config, family = layout.config, str(layout.config.get("model_type", ""))
    if family not in _TEXT_DEFAULTS or config.get("auto_map"):
        raise InputError(
            f"{root / 'config.json'} has model_type = {family!r}, which is not run as a model of "
            "pictures and texts.",
            f"Name one of {_FAMILIES}; SigLIP 2 at a fixed size is of family siglip.",
        )
    vision = {**_VISION_DEFAULTS, **(config.get("vision_config") or {})}
    edge = vision["image_size"]
    if vision["num_channels"] != 3 or not isinstance(edge, int):
        raise InputError(
            f"{root / 'config.json'} has pictures of {vision['num_channels']} channels and size "
            f"{edge}: squares of red, green and blue are read.",
            "Use another model.",
        )
    texts = {**_TEXT_DEFAULTS[family], **(config.get("text_config") or {})}
    return ImageFolder(
        layout=layout,
        family=family,
        dim=_dim(root, config, texts, vision),
        patches=(edge // int(vision.get("patch_size", _PATCHES[family]))) ** 2,
        pictures=read_picture_input(root, family, edge),
        texts=_texts(root, family, texts),
    )


def _inner(root: Path) -> Path:
    """Where the model itself lies, in or below a folder of sentence-transformers."""
    if not (root / "modules.json").is_file():
        return root
    modules = read_json(root / "modules.json")
    kinds = [str(each.get("type")) for each in modules] if isinstance(modules, list) else []
    if len(kinds) != 1 or kinds[0] not in _MODULES:
        raise InputError(
            f"{root / 'modules.json'} lists {', '.join(kinds) or 'nothing'}, and not one module "
            "that is a model of pictures and texts.",
            f"Name a folder of {_FAMILIES}.",
        )
    _check_sentences(root)
    folder = root / _plain_name(root, str(modules[0].get("path", "")))
    read_known(folder / "sentence_bert_config.json", _CALL, optional=True)
    return folder


def _plain_name(root: Path, path: str) -> str:
    if "/" in path or "\\" in path or path == "..":
        raise InputError(f"{root / 'modules.json'} has path = {path!r}.", "Use another model.")
    return path


def _check_sentences(root: Path) -> None:
    path = root / "config_sentence_transformers.json"
    found = read_known(path, _SENTENCES, optional=True)
    prompts = {name: text for name, text in (found.get("prompts") or {}).items() if text}
    if prompts:
        name, text = min(prompts.items())
        raise InputError(
            f"{path} has a prompt {name} = {json.dumps(text)}, and prompts of such folders are not "
            "read.",
            "Take it out of the file, and set query_prompt or document_prompt.",
        )


def _dim(
    root: Path, config: Mapping[str, Any], texts: Mapping[str, Any], vision: Mapping[str, Any]
) -> int:
    """Components of both towers' vectors."""
    if config["model_type"] == "clip":
        return int(config.get("projection_dim") or 512)
    if not vision.get("vision_use_head", True):
        raise InputError(
            f"{root / 'config.json'} has vision_use_head = false: no vector of a picture.",
            "Use another model.",
        )
    of_text = int(texts.get("projection_size") or texts["hidden_size"])
    if of_text != vision["hidden_size"]:
        raise InputError(
            f"{root / 'config.json'} gives texts {of_text} components and pictures "
            f"{vision['hidden_size']}.",
            "Use another model.",
        )
    return of_text


def _texts(root: Path, family: str, texts: Mapping[str, Any]) -> TextInput:
    positions, vocabulary = int(texts["max_position_embeddings"]), int(texts["vocab_size"])
    if family == "clip":
        end = texts["eos_token_id"]
        return TextInput(positions, vocabulary, None, masked=True, end=int(end))
    config = read_object(root / "tokenizer_config.json", optional=True)
    named = config.get("pad_token")
    if named is None:
        raise InputError(
            f"{root / 'tokenizer_config.json'} names no pad_token, which texts are filled up with.",
            "Save the tokeniser there: tokenizer.save_pretrained(FOLDER).",
        )
    inputs = config.get("model_input_names", ["input_ids", "attention_mask"])
    return TextInput(positions, vocabulary, content(named), "attention_mask" in inputs, end=None)
