"""Which models our own forward pass runs, and which weights it needs: BERT's family and those of
packed_families.py, whose weights go by BERT's names here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardrank.models.folder.headers import Header
from shardrank.models.folder.packed_families import FAMILIES, Family, Head

Config = Mapping[str, Any]

#: What a config.json must say, where it says it, so that packed.py computes what the library does.
_SAID: Mapping[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "hidden_act": ("gelu",),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "is_encoder_decoder": (False, None),
    "auto_map": (None, {}),
    "pruned_heads": (None, {}),
}
#: What a config.json of BERT leaves out: the shape of bert-base-uncased.
BERT_SHAPE: Mapping[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
_LAYER = {
    "attention.self.query": ("d", "d"),
    "attention.self.key": ("d", "d"),
    "attention.self.value": ("d", "d"),
    "attention.output.dense": ("d", "d"),
    "intermediate.dense": ("h", "d"),
    "output.dense": ("d", "h"),
}
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")


@dataclass(frozen=True)
class Sizes:
    """What a config.json says of an encoder's weights.

    Attributes:
        terms, positions, types: rows of the tables of embeddings; 0: there is no such table.
        width, inner: of the stream, and within a layer's second half.
        layers, heads: how many.
        epsilon: of layer normalisation.
    """

    terms: int
    positions: int
    types: int
    width: int
    inner: int
    layers: int
    heads: int
    epsilon: float


def is_packable(config: Config) -> bool:
    """Whether packed.py's forward pass is the model's: it runs without padding, and in 8 bits."""
    family = FAMILIES.get(str(config.get("model_type")))
    return (
        family is not None
        and all(
            config.get(name, allowed[0]) in allowed
            for name, allowed in {**_SAID, **family.said}.items()
        )
        and family.holds(config)
    )


def is_packable_masked(config: Config) -> bool:
    """As `is_packable`, of a masked language model."""
    return is_packable(config) and family_of(config).masked


def family_of(config: Config) -> Family:
    """The family of a model that `is_packable`."""
    return FAMILIES[str(config["model_type"])]


def sizes(config: Config) -> Sizes:
    """Of a config.json that `is_packable`; what it leaves out is as its family has it."""
    family = family_of(config)
    defaults = {**BERT_SHAPE, **family.defaults}
    own = {name: config.get(family.keys.get(name, name), value) for name, value in defaults.items()}
    lacks = family.without(config)
    return Sizes(
        terms=int(own["vocab_size"]),
        positions=0 if "position" in lacks else int(own["max_position_embeddings"]),
        types=0 if "token_type" in lacks else int(own["type_vocab_size"]),
        width=int(own["hidden_size"]),
        inner=int(own["intermediate_size"]),
        layers=int(own["num_hidden_layers"]),
        heads=int(own["num_attention_heads"]),
        epsilon=float(own["layer_norm_eps"]),
    )


def bare_name(name: str, family: Family) -> str:
    """A weight's name in the encoder alone, as BERT has it."""
    name = todays_name(name.removeprefix(family.prefix))
    for own, berts in family.renamed:
        name = name.replace(own, berts)
    return name


def todays_name(name: str) -> str:
    """A weight's name with layer norms as they are called today."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")


def needed(config: Config) -> dict[str, tuple[int, ...]]:
    """The shapes of an encoder's weights, by their bare names."""
    own = sizes(config)
    d, numbers = own.width, {"d": own.width, "h": own.inner}
    rows = {"word": own.terms, "position": own.positions, "token_type": own.types}
    found: dict[str, tuple[int, ...]]
    found = {f"embeddings.{kind}_embeddings.weight": (n, d) for kind, n in rows.items() if n}
    found |= {f"embeddings.LayerNorm.{part}": (d,) for part in ("weight", "bias")}
    for number in range(own.layers):
        layer = f"encoder.layer.{number}"
        for name, (out, inner) in _LAYER.items():
            found[f"{layer}.{name}.weight"] = (numbers[out], numbers[inner])
            found[f"{layer}.{name}.bias"] = (numbers[out],)
        for name in _NORMS:
            found |= {f"{layer}.{name}.{part}": (d,) for part in ("weight", "bias")}
    return found | family_of(config).more(config)


def head_of(config: Config) -> Head:
    """The head of a classifier that `is_packable`."""
    return family_of(config).head


def needed_head(config: Config, labels: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a classifier's head."""
    d, head = sizes(config).width, head_of(config)
    return {
        f"{head.first}.weight": (d, d),
        f"{head.first}.bias": (d,),
        f"{head.last}.weight": (labels, d),
        f"{head.last}.bias": (labels,),
    }


def differences(
    headers: Mapping[str, Header], wanted: Mapping[str, tuple[int, ...]], config: Config
) -> tuple[list[str], list[str]]:
    """Names that the files lack or hold in another shape; and those they hold besides, or twice."""
    family = family_of(config)
    held: dict[str, tuple[int, ...]] = {}
    twice = []
    for name, header in headers.items():
        bare = bare_name(name, family)
        twice += [name] if bare in held else []
        held[bare] = header.shape
    wrong = [_own_name(name, family) for name, shape in wanted.items() if held.get(name) != shape]
    besides = {*held.keys() - wanted.keys(), *twice} - _unused(config)
    return wrong, sorted(_own_name(name, family) for name in besides)


def _own_name(name: str, family: Family) -> str:
    """The way back from a bare name, but for the prefix."""
    for own, berts in family.renamed:
        name = name.replace(berts, own)
    return name


def _unused(config: Config) -> set[str]:
    """A table of positions that the model lacks: the library passes over it then."""
    lacks = "position" in family_of(config).without(config)
    return {"embeddings.position_embeddings.weight"} if lacks else set()
