"""Tiny models of pictures and texts with random weights, saved as transformers saves them; and
pictures."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)

from tests.tiny_models import write_json

EDGE, DIM = 32, 16
CLIP_POSITIONS, SIGLIP_POSITIONS = 24, 16
_START, _END = "<|startoftext|>", "<|endoftext|>"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_MEAN = [0.48145466, 0.4578275, 0.40821073]
_STD = [0.26862954, 0.26130258, 0.27577711]


def tiny_clip(folder: Path) -> Path:
    """A random CLIP; equal calls give equal files."""
    torch.manual_seed(13)
    vocabulary = _numbered(["!", *_LETTERS, *(f"{each}</w>" for each in _LETTERS), _START, _END])
    tokeniser = CLIPTokenizer(vocab=vocabulary, merges=[])
    text = {
        **_shape(),
        "vocab_size": len(vocabulary),
        "max_position_embeddings": CLIP_POSITIONS,
        "bos_token_id": vocabulary[_START],
        "eos_token_id": vocabulary[_END],
        "pad_token_id": vocabulary[_END],
    }
    config = CLIPConfig(text_config=text, vision_config=_vision(), projection_dim=DIM)
    _save(folder, CLIPModel(config), tokeniser)
    write_json(folder / "preprocessor_config.json", clip_processor())
    return folder


def clip_processor(**more: Any) -> Mapping[str, Any]:
    """As preprocessor_config.json of OpenAI's models says it."""
    return {
        "crop_size": {"height": EDGE, "width": EDGE},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": _MEAN,
        "image_std": _STD,
        "image_processor_type": "CLIPImageProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": EDGE},
        **more,
    }


def tiny_siglip(folder: Path) -> Path:
    """A random SigLIP; likewise."""
    torch.manual_seed(17)
    vocabulary = _numbered(["<pad>", "</s>", "<unk>", *_LETTERS, *(f"##{e}" for e in _LETTERS)])
    text = {
        **_shape(),
        "vocab_size": len(vocabulary),
        "max_position_embeddings": SIGLIP_POSITIONS,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 1,
    }
    config = SiglipConfig(text_config=text, vision_config=_vision())
    _save(folder, SiglipModel(config), _pieces(vocabulary))
    size = {"height": EDGE, "width": EDGE}
    write_json(
        folder / "preprocessor_config.json",
        {"image_processor_type": "SiglipImageProcessor", "size": size, "resample": 2},
    )
    return folder


def _pieces(vocabulary: Mapping[str, int]) -> PreTrainedTokenizerFast:
    """As Google's tokenisers: an end token behind a text, and no mask for the model."""
    backend = Tokenizer(models.WordPiece(dict(vocabulary), unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids"],
    )


def _numbered(words: Sequence[str]) -> dict[str, int]:
    return {word: number for number, word in enumerate(words)}


def _shape() -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": 0.3,
    }


def _vision() -> dict[str, Any]:
    return {**_shape(), "image_size": EDGE, "patch_size": 8}


def _save(folder: Path, model: PreTrainedModel, tokeniser: Any) -> None:
    generator = torch.Generator().manual_seed(19)
    for parameter in model.parameters():  # the library's own are near 0, and all vectors alike
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.25, generator=generator)
    model.save_pretrained(folder)
    tokeniser.save_pretrained(folder)


def noise(seed: int, height: int = 40, width: int = 52, channels: int = 3) -> Image.Image:
    """A picture of large random squares."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 256, (5, 5, channels), dtype=np.uint8)
    return Image.fromarray(squares).resize((width, height), Image.Resampling.NEAREST)


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    """A picture as the bytes of a file."""
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()
