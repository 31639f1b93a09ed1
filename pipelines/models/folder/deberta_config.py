"""What a DeBERTa's config.json says of its disentangled attention (He et al. 2021,
arXiv:2006.03654), as transformers 5.23 reads it (modeling_deberta_v2.py)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]

_KINDS = frozenset({"c2p", "p2c"})


@dataclass(frozen=True)
class Disentangled:
    """How tokens attend to distances.

    Attributes:
        kinds: of "c2p", a token's query and a distance's key, and "p2c", the other way about.
        shared: whether distances go through the tokens' own maps.
        normed: whether their embeddings are normalised first.
        span: distances have 2 · span embeddings.
        buckets: distances of up to half as many have one each, and further ones share; not
            positive: each has its own, up to the span.
        longest: the distance beyond which all are one.
    """

    kinds: frozenset[str]
    shared: bool
    normed: bool
    span: int
    buckets: int
    longest: int

    @classmethod
    def of(cls, config: Config) -> "Disentangled":
        """Of a config.json that `is_plain_deberta`."""
        longest = int(config.get("max_relative_positions", -1))
        if longest < 1:
            longest = int(config.get("max_position_embeddings", 512))
        buckets = int(config.get("position_buckets", -1))
        return cls(
            kinds=_listed(config.get("pos_att_type")),
            shared=bool(config.get("share_att_key", False)),
            normed="layer_norm" in _split(config.get("norm_rel_ebd", "none")),
            span=buckets if buckets > 0 else longest,
            buckets=buckets,
            longest=longest,
        )


def is_plain_deberta(config: Config) -> bool:
    """Whether a config.json asks for nothing beside disentangled attention over BERT's layers."""
    kinds, width = _listed(config.get("pos_att_type")), config.get("hidden_size", 1536)
    heads = config.get("num_attention_heads", 24)
    return (
        bool(config.get("relative_attention", False))
        and bool(kinds)
        and kinds <= _KINDS
        and _split(config.get("norm_rel_ebd", "none")) <= {"none", "layer_norm"}
        and not config.get("conv_kernel_size")
        and config.get("embedding_size", width) == width
        and config.get("pooler_hidden_size", width) == width
        and config.get("attention_head_size", width // heads) * heads == width
        and config.get("pooler_hidden_act", "gelu") == "gelu"
    )


def deberta_weights(config: Config) -> dict[str, tuple[int, ...]]:
    """The shapes of what it has beside BERT's weights, by their bare names."""
    own, d = Disentangled.of(config), int(config.get("hidden_size", 1536))
    found: dict[str, tuple[int, ...]] = {"encoder.rel_embeddings.weight": (2 * own.span, d)}
    if own.normed:
        found |= {f"encoder.LayerNorm.{part}": (d,) for part in ("weight", "bias")}
    for number in range(int(config.get("num_hidden_layers", 24))):
        for name in distance_maps(own, number):
            found |= {f"{name}.weight": (d, d), f"{name}.bias": (d,)}
    return found


def distance_maps(own: Disentangled, layer: int) -> list[str]:
    """The maps that a layer has for distances alone."""
    if own.shared:
        return []
    maps = {"c2p": "pos_key_proj", "p2c": "pos_query_proj"}
    root = f"encoder.layer.{layer}.attention.self"
    return [f"{root}.{maps[kind]}" for kind in sorted(own.kinds)]


def _listed(value: str | list[str] | None) -> frozenset[str]:
    """A list of names, or names between bars."""
    return _split(value) if isinstance(value, str) else frozenset(value or ())


def _split(value: str) -> frozenset[str]:
    return frozenset(part.strip() for part in value.lower().split("|"))
