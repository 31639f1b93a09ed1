"""Which models our own forward pass runs, and which weights it needs: BERT's family.

BERT (Devlin et al. 2019, arXiv:1810.04805) and the models that have its layers and none besides.
"""

from collections.abc import Mapping
from typing import Any

from shardrank.models.folder.headers import Header

Config = Mapping[str, Any]

#: The names that classifiers and language models put before those of the encoder they hold.
PREFIXES: Mapping[str, str] = {
    "bert": "bert.",
    "roberta": "roberta.",
    "xlm-roberta": "roberta.",
    "camembert": "roberta.",
}
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
_LAYER = {
    "attention.self.query": ("d", "d"),
    "attention.self.key": ("d", "d"),
    "attention.self.value": ("d", "d"),
    "attention.output.dense": ("d", "d"),
    "intermediate.dense": ("h", "d"),
    "output.dense": ("d", "h"),
}
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_HEADS = {
    "bert": ("pooler.dense", "classifier"),
    "roberta.": ("classifier.dense", "classifier.out_proj"),
}


def is_packable(config: Config) -> bool:
    """Whether packed.py's forward pass is the model's: it runs without padding, and in 8 bits."""
    return config.get("model_type") in PREFIXES and all(
        config.get(name, allowed[0]) in allowed for name, allowed in _SAID.items()
    )


def bare_name(name: str, prefix: str) -> str:
    """A weight's name in the encoder alone, with layer norms as they are called today.

    `prefix` is what its classifiers and language models put before it; see PREFIXES.
    """
    name = name.removeprefix(prefix)
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")


def needed(config: Config) -> dict[str, tuple[int, ...]]:
    """The shapes of an encoder's weights, by their bare names."""
    d, h = int(config.get("hidden_size", 768)), int(config.get("intermediate_size", 3072))
    sizes = {"d": d, "h": h}
    rows = {
        "word": config.get("vocab_size", 30522),
        "position": config.get("max_position_embeddings", 512),
        "token_type": config.get("type_vocab_size", 2),
    }
    found: dict[str, tuple[int, ...]]
    found = {f"embeddings.{kind}_embeddings.weight": (int(n), d) for kind, n in rows.items()}
    found |= {f"embeddings.LayerNorm.{part}": (d,) for part in ("weight", "bias")}
    for number in range(int(config.get("num_hidden_layers", 12))):
        layer = f"encoder.layer.{number}"
        for name, (out, inner) in _LAYER.items():
            found[f"{layer}.{name}.weight"] = (sizes[out], sizes[inner])
            found[f"{layer}.{name}.bias"] = (sizes[out],)
        for name in _NORMS:
            found |= {f"{layer}.{name}.{part}": (d,) for part in ("weight", "bias")}
    return found


def head_names(config: Config) -> tuple[str, str]:
    """The two maps of a classifier's head: from the first token's state, and to the labels."""
    kind = "bert" if config.get("model_type") == "bert" else "roberta."
    return _HEADS[kind]


def needed_head(config: Config, labels: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a classifier's head."""
    d = int(config.get("hidden_size", 768))
    first, last = head_names(config)
    return {
        f"{first}.weight": (d, d),
        f"{first}.bias": (d,),
        f"{last}.weight": (labels, d),
        f"{last}.bias": (labels,),
    }


def differences(
    headers: Mapping[str, Header], wanted: Mapping[str, tuple[int, ...]], config: Config
) -> tuple[list[str], list[str]]:
    """Names that the files lack or hold in another shape; and those they hold besides, or twice."""
    prefix = PREFIXES[str(config["model_type"])]
    held: dict[str, tuple[int, ...]] = {}
    twice = []
    for name, header in headers.items():
        bare = bare_name(name, prefix)
        twice += [name] if bare in held else []
        held[bare] = header.shape
    wrong = [name for name, shape in wanted.items() if held.get(name) != shape]
    return wrong, sorted({*held.keys() - wanted.keys(), *twice})
