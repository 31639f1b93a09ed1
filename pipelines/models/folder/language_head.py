"""The head of a masked language model that packed.py's forward pass runs: which weights it needs.

It is a linear map, GELU, a layer norm, and the decoder, a map to the vocabulary whose weights are
most often those of the word embeddings (Devlin et al. 2019, arXiv:1810.04805).
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from shardrank.models.folder.packable import sizes

Config = Mapping[str, Any]

_WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class HeadNames:
    """What the weights of a head are called.

    Attributes:
        root: what all begin with.
        dense, norm: the first map and the layer norm, without ".weight" and ".bias".
        weight, bias: the decoder's.
        other_weight, other_bias: what stands for them where they are absent and tied.
    """

    root: str
    dense: str
    norm: str
    weight: str
    bias: str
    other_weight: str
    other_bias: str


_BERT = HeadNames(
    "cls.predictions.",
    "cls.predictions.transform.dense",
    "cls.predictions.transform.LayerNorm",
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
    _WORDS,
    "cls.predictions.bias",
)
_ROBERTA = HeadNames(
    "lm_head.",
    "lm_head.dense",
    "lm_head.layer_norm",
    "lm_head.decoder.weight",
    "lm_head.decoder.bias",
    _WORDS,
    "lm_head.bias",
)


_DISTILBERT = HeadNames(
    "vocab_",
    "vocab_transform",
    "vocab_layer_norm",
    "vocab_projector.weight",
    "vocab_projector.bias",
    _WORDS,
    "vocab_projector.bias",
)
_HEADS = {"bert": _BERT, "distilbert": _DISTILBERT}


def head_of(config: Config) -> HeadNames:
    """The head of a model that `is_packable_masked`."""
    return _HEADS.get(str(config["model_type"]), _ROBERTA)


def decoder_names(config: Config, held: Container[str]) -> tuple[str, str]:
    """The weight and bias that the decoder takes of those that files hold.

    Its own win; those that they are tied to stand for them where the files have none, unless
    `tie_word_embeddings` is false (transformers 5.23, PreTrainedModel.tie_weights).
    """
    head = head_of(config)
    tied = config.get("tie_word_embeddings", True)
    weight = head.weight if head.weight in held or not tied else head.other_weight
    bias = head.bias if head.bias in held or not tied else head.other_bias
    return weight, bias


def needed_language_head(config: Config, held: Container[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of a head's weights, by their bare names, given the names that files hold."""
    own, head = sizes(config), head_of(config)
    d, terms = own.width, own.terms
    weight, bias = decoder_names(config, held)
    return {
        f"{head.dense}.weight": (d, d),
        f"{head.dense}.bias": (d,),
        f"{head.norm}.weight": (d,),
        f"{head.norm}.bias": (d,),
        weight: (terms, d),
        bias: (terms,),
    }
