"""Which models packed_modern.py's forward pass runs, and which weights it needs: ModernBERT's.

ModernBERT (Warner et al. 2024, arXiv:2412.13663) and what is trained from it. Names and what a
config.json leaves out are those of transformers 5.23 (ModernBertConfig), older keys included.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]

#: What classifiers and language models put before the names of the encoder they hold.
PREFIX = "model."
#: What config.json must say, where it says it, so that packed_modern.py computes what the library
#: does. It would take other turns or another window from the last five.
_SAID: Mapping[str, tuple[Any, ...]] = {
    "hidden_activation": ("gelu",),
    "classifier_activation": ("gelu",),
    "classifier_pooling": ("cls", "mean"),
    "is_decoder": (False, None),
    "is_causal": (False, None),
    "auto_map": (None, {}),
    "head_dim": (None,),
    "partial_rotary_factor": (None,),
    "rope_scaling": (None,),
    "rope_theta": (None,),
    "sliding_window": (None,),
}
_SIZES = {
    "vocab_size": 50368,
    "hidden_size": 768,
    "intermediate_size": 1152,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "local_attention": 128,
    "global_attn_every_n_layers": 3,
}
_FULL, _NEAR = "full_attention", "sliding_attention"
#: Where older files say how fast positions turn, and what those that do not say it mean.
_THETAS = {_FULL: ("global_rope_theta", 160_000.0), _NEAR: ("local_rope_theta", 10_000.0)}


@dataclass(frozen=True)
class ModernShape:
    """What the weights' shapes do not tell.

    Attributes:
        heads: of attention.
        epsilon: of layer normalisation.
        reach: how far a token attends to either side in a local layer.
        reaches: of each layer; none: a token attends to all.
        full_theta, near_theta: the base of the turns in layers of either kind.
    """

    heads: int
    epsilon: float
    reach: int
    reaches: tuple[int | None, ...]
    full_theta: float
    near_theta: float

    @classmethod
    def of(cls, config: Config) -> "ModernShape":
        """From a config.json that `is_modern`."""
        reach = _size(config, "local_attention") // 2
        return cls(
            heads=_size(config, "num_attention_heads"),
            epsilon=float(config.get("norm_eps", 1e-5)),
            reach=reach,
            reaches=tuple(None if kind == _FULL else reach for kind in _kinds(config)),
            full_theta=float(_theta(config, _FULL)),
            near_theta=float(_theta(config, _NEAR)),
        )


def is_modern(config: Config) -> bool:
    """Whether packed_modern.py's forward pass is the model's: without padding, and in 8 bits."""
    return (
        config.get("model_type") == "modernbert"
        and all(config.get(name, allowed[0]) in allowed for name, allowed in _SAID.items())
        and all(isinstance(_size(config, name), int) and _size(config, name) > 0 for name in _SIZES)
        and _size(config, "hidden_size") % (2 * _size(config, "num_attention_heads")) == 0
        and len(_kinds(config)) == _size(config, "num_hidden_layers")
        and {*_kinds(config)} <= {_FULL, _NEAR}
        and _turns(config)
    )


def pools_mean(config: Config) -> bool:
    """Whether a classifier looks at the mean of all tokens' states, not at the first one's."""
    return bool(config.get("classifier_pooling") == "mean")


def needed_of_modern(config: Config, labels: int) -> dict[str, tuple[int, ...]]:
    """The shapes of an encoder's weights by their names in the encoder alone; those of a
    classifier's head besides, where there are labels."""
    d = _size(config, "hidden_size")
    found = _map("embeddings.tok_embeddings", _size(config, "vocab_size"), d, False)
    found |= {**_norm(config, "embeddings.norm"), **_norm(config, "final_norm")}
    for number in range(_size(config, "num_hidden_layers")):
        found |= _layer(config, f"layers.{number}", first=number == 0)
    if labels:
        found |= _map("head.dense", d, d, bool(config.get("classifier_bias")))
        found |= {**_norm(config, "head.norm"), **_map("classifier", labels, d, True)}
    return found


def _layer(config: Config, name: str, first: bool) -> dict[str, tuple[int, ...]]:
    d, h = _size(config, "hidden_size"), _size(config, "intermediate_size")
    attention, gated = bool(config.get("attention_bias")), bool(config.get("mlp_bias"))
    return {
        **({} if first else _norm(config, f"{name}.attn_norm")),
        **_map(f"{name}.attn.Wqkv", 3 * d, d, attention),
        **_map(f"{name}.attn.Wo", d, d, attention),
        **_norm(config, f"{name}.mlp_norm"),
        **_map(f"{name}.mlp.Wi", 2 * h, d, gated),
        **_map(f"{name}.mlp.Wo", d, h, gated),
    }


def _map(name: str, out: int, inner: int, biased: bool) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, inner), **({f"{name}.bias": (out,)} if biased else {})}


def _norm(config: Config, name: str) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias") if config.get("norm_bias") else ("weight",)
    return {f"{name}.{part}": (_size(config, "hidden_size"),) for part in parts}


def _size(config: Config, name: str) -> Any:
    return config.get(name, _SIZES[name])


def _kinds(config: Config) -> tuple[Any, ...]:
    """Of each layer, as today's files say it, or older ones."""
    if config.get("layer_types") is not None:
        return tuple(config["layer_types"])
    each = _size(config, "global_attn_every_n_layers")
    layers = range(_size(config, "num_hidden_layers"))
    return tuple(_NEAR if number % each else _FULL for number in layers)


def _theta(config: Config, kind: str) -> Any:
    older, usual = _THETAS[kind]
    found = (config.get("rope_parameters") or {}).get(kind) or {}
    return found.get("rope_theta", config.get(older, usual))


def _turns(config: Config) -> bool:
    """Whether both kinds of layers turn positions as they were trained, not slower."""
    told = config.get("rope_parameters") or {}
    return {*told} <= {*_THETAS} and all(
        {*(told.get(kind) or {})} <= {"rope_type", "rope_theta"}
        and (told.get(kind) or {}).get("rope_type", "default") == "default"
        and isinstance(_theta(config, kind), int | float)
        for kind in _THETAS
    )
