"""Which encoders that are decoders our own forward pass runs, and which weights they need.

Llama's kind, and Gemma 3's text model, whose tokens may attend both ways (Vera et al. 2025,
EmbeddingGemma, arXiv:2509.20354).
"""

from collections.abc import Mapping
from typing import Any

from shardrank.models.folder.headers import Header
from shardrank.models.folder.plain_decoder import (
    ROPES,
    WORDS,
    Config,
    DecoderShape,
    is_plain_decoder,
    layer_weights,
)

#: Changes with the last bits of what the forward pass gives.
REVISION = 1
_GEMMA = "gemma3_text"
#: What Gemma's config.json must say, where it says it.
_SAID: Mapping[str, tuple[Any, ...]] = {
    "hidden_activation": ("gelu_pytorch_tanh",),
    "attention_bias": (False,),
    "attn_logit_softcapping": (None,),
    "use_bidirectional_attention": (False, True, None),
    "is_causal": (True,),
    "partial_rotary_factor": (1.0, None),
    "auto_map": (None, {}),
}
_STATED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
           "head_dim", "num_key_value_heads", "vocab_size", "max_position_embeddings",
           "sliding_window", "query_pre_attn_scalar")  # fmt: skip
_FULL, _SLIDING = "full_attention", "sliding_attention"
#: What turns a layer's queries and keys by when nothing is said (transformers 5.23).
_THETAS = {_FULL: ("rope_theta", 1_000_000.0), _SLIDING: ("rope_local_base_freq", 10_000.0)}


def is_packed_decoder(config: Config) -> bool:
    """Whether packed_states.py's forward pass is the model's: without padding, and in 8 bits."""
    return is_plain_decoder(config) or _is_gemma(config)


def encoder_shape(config: Config) -> DecoderShape:
    """From a config.json that `is_packed_decoder`."""
    return _gemma_shape(config) if config["model_type"] == _GEMMA else DecoderShape.of(config)


def bare_decoder_name(name: str) -> str:
    """A weight's name as language models have it; encoders leave the first part out."""
    return name if name.startswith(("model.", "lm_head.")) else f"model.{name}"


def decoder_differences(
    headers: Mapping[str, Header], config: Config
) -> tuple[list[str], list[str]]:
    """Names that the files lack or hold in another shape; and those they hold besides, or twice."""
    wanted, held, twice = _needed(config), dict[str, tuple[int, ...]](), list[str]()
    for name, header in headers.items():
        bare = bare_decoder_name(name)
        twice += [name] if bare in held else []
        held[bare] = header.shape
    wrong = [name for name, shape in wanted.items() if held.get(name) != shape]
    if not any(name.startswith("model.") for name in headers):
        wrong = [name.removeprefix("model.") for name in wrong]  # as an encoder's files have it
    besides = {name.removeprefix("model.") for name in held.keys() - wanted.keys()}
    return wrong, sorted({*besides, *twice})


def _is_gemma(config: Config) -> bool:
    kinds = config.get("layer_types") or ()
    return (
        config.get("model_type") == _GEMMA
        and all(config.get(name, allowed[0]) in allowed for name, allowed in _SAID.items())
        and all(isinstance(config.get(name), int) for name in _STATED)
        and len(kinds) == config["num_hidden_layers"]
        and {*kinds} <= {_FULL, _SLIDING}
        and all(_turns(_rope(config, kind)) for kind in {*kinds})
    )


def _turns(rope: Mapping[str, Any]) -> bool:
    return (
        rope["rope_type"] in ROPES
        and all(isinstance(rope.get(name), int | float) for name in ROPES[rope["rope_type"]])
        and isinstance(rope["rope_theta"], int | float)
        and rope.get("partial_rotary_factor", 1.0) == 1.0
    )


def _rope(config: Config, kind: str) -> dict[str, Any]:
    """How positions turn the queries and keys of a kind of layers, by today's names
    (transformers 5.23, Gemma3TextConfig.convert_rope_params_to_dict)."""
    found = dict((config.get("rope_parameters") or {}).get(kind) or {})
    found |= (config.get("rope_scaling") or {}) if kind == _FULL else {}
    name, usual = _THETAS[kind]
    found["rope_type"] = found.get("rope_type", found.get("type", "default"))
    found.setdefault("rope_theta", config.get(name, usual))
    found.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
    return found


def _gemma_shape(config: Config) -> DecoderShape:
    kinds, both = config["layer_types"], bool(config.get("use_bidirectional_attention"))
    window = int(config["sliding_window"])
    window = window // 2 + 1 if both else window  # to each side, its own token among them
    return DecoderShape(
        layers=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        key_heads=int(config["num_key_value_heads"]),
        head_width=int(config["head_dim"]),
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
        windows=tuple(window if kind == _SLIDING else None for kind in kinds),
        biased=False,
        out_biased=False,
        mlp_biased=False,
        normed=True,
        scale=float(config["query_pre_attn_scalar"]) ** -0.5,
        ropes=tuple(_rope(config, kind) for kind in kinds),
        both=both,
        gate="gelu",
        sandwiched=True,
        lifted=True,
        raised=True,
    )


def _needed(config: Config) -> dict[str, tuple[int, ...]]:
    """The shapes of an encoder's weights by their names in a language model."""
    shape, d = encoder_shape(config), int(config["hidden_size"])
    found = {WORDS: (int(config["vocab_size"]), d), "model.norm.weight": (d,)}
    for number in range(shape.layers):
        own = layer_weights(config, shape)
        if shape.sandwiched:
            own |= {f"{side}_feedforward_layernorm.weight": (d,) for side in ("pre", "post")}
        found |= {f"model.layers.{number}.{name}": sizes for name, sizes in own.items()}
    return found
