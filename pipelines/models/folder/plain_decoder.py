"""Which decoders our own forward pass runs, and which weights it needs: Llama's kind.

Llama (Touvron et al. 2023, arXiv:2302.13971) and the models that have its layers and none besides:
Mistral, Qwen2 and Qwen3.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]

#: Where a folder says that a model of this kind ends, whose logits are of every term.
HEAD, WORDS = "lm_head.weight", "model.embed_tokens.weight"
#: Whether queries, keys and values have biases, and heads norms of their own; none: as
#: `attention_bias` says.
_FAMILIES: Mapping[str, tuple[bool | None, bool]] = {
    "llama": (None, False),
    "mistral": (False, False),
    "qwen2": (True, False),
    "qwen3": (None, True),
}
#: What config.json must say, where it says it, so that llama.py computes what the library does.
_SAID: Mapping[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "is_causal": (True,),
    "partial_rotary_factor": (1.0, None),
    "auto_map": (None, {}),
}
_STATED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
           "vocab_size", "max_position_embeddings")  # fmt: skip
_KINDS = ("full_attention", "sliding_attention")
#: What a turn of positions must say, by its type; see rope.py. `attention_factor` and what is
#: derived from `mscale` may be left out.
ROPES: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}


@dataclass(frozen=True)
class DecoderShape:
    """What the weights' shapes do not tell.

    Attributes:
        layers, heads, key_heads: how many there are; several heads may share keys and values.
        head_width: numbers of a head.
        epsilon: of the norms.
        windows: of each layer, how many tokens one attends to, itself among them; none: all.
        biased: whether queries, keys and values have biases.
        out_biased: whether the map behind attention has one; likewise `mlp_biased`.
        normed: whether queries and keys are normalised, head by head.
        scale: of the inner products.
        ropes: of each layer, how positions turn queries and keys; see `rope_of`.
        both: whether tokens attend to those behind them, too.
        gate: what half of the gated map goes through, "silu" or "gelu", Gemma's by tanh.
        sandwiched: whether what attention and the gated map give is normalised, too.
        lifted: whether norms multiply by 1 more than their weights.
        raised: whether the words' vectors are multiplied by the square root of their width.
    """

    layers: int
    heads: int
    key_heads: int
    head_width: int
    epsilon: float
    windows: tuple[int | None, ...]
    biased: bool
    out_biased: bool
    mlp_biased: bool
    normed: bool
    scale: float
    ropes: tuple[Mapping[str, Any], ...]
    both: bool = False
    gate: str = "silu"
    sandwiched: bool = False
    lifted: bool = False
    raised: bool = False

    @classmethod
    def of(cls, config: Config) -> "DecoderShape":
        """From a config.json that `is_plain_decoder`."""
        biased, normed = _FAMILIES[str(config["model_type"])]
        said = bool(config.get("attention_bias"))
        heads, layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
        usual = 128 if config["model_type"] == "qwen3" else int(config["hidden_size"]) // heads
        width = int(config.get("head_dim") or usual)
        return cls(
            layers=layers,
            heads=heads,
            key_heads=int(config.get("num_key_value_heads") or heads),
            head_width=width,
            epsilon=float(config.get("rms_norm_eps", 1e-6)),
            windows=_windows(config, layers),
            biased=said if biased is None else biased,
            out_biased=said and biased is None,
            mlp_biased=bool(config.get("mlp_bias")) and config["model_type"] == "llama",
            normed=normed,
            scale=width**-0.5,
            ropes=(rope_of(config),) * layers,
        )


def is_plain_decoder(config: Config) -> bool:
    """Whether llama.py's forward pass is the model's."""
    return (
        config.get("model_type") in _FAMILIES
        and all(config.get(name, allowed[0]) in allowed for name, allowed in _SAID.items())
        and all(isinstance(config.get(name), int) for name in _STATED)
        and (bool(config.get("num_key_value_heads")) or config["model_type"] == "llama")
        and (config["model_type"] != "mistral" or "sliding_window" in config)
        and set(config.get("layer_types") or ()) <= {*_KINDS}
        and _turns(config)
    )


def rope_of(config: Config) -> dict[str, Any]:
    """How positions turn queries and keys, by today's names; older files spread it over several
    keys (transformers 5.23, RotaryEmbeddingConfigMixin)."""
    found = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    found["rope_type"] = found.get("rope_type", found.get("type", "default"))
    found.setdefault("rope_theta", config.get("rope_theta", 10_000.0))
    own = config.get("original_max_position_embeddings")
    trained = own or found.get("original_max_position_embeddings")
    found["original_max_position_embeddings"] = trained or config["max_position_embeddings"]
    return found


def _turns(config: Config) -> bool:
    rope = rope_of(config)
    return (
        rope["rope_type"] in ROPES
        and all(isinstance(rope.get(name), int | float) for name in ROPES[rope["rope_type"]])
        and isinstance(rope["rope_theta"], int | float)
        and rope.get("partial_rotary_factor", 1.0) == 1.0
    )


def _windows(config: Config, layers: int) -> tuple[int | None, ...]:
    """Mistral's window is every layer's; Qwen's only where it is used, of the layers that say so,
    or of those from `max_window_layers` on."""
    window = config.get("sliding_window")
    if config["model_type"] == "mistral":
        return (window,) * layers
    if config["model_type"] == "llama" or not config.get("use_sliding_window"):
        return (None,) * layers
    first = int(config.get("max_window_layers", 28))
    kinds = config.get("layer_types") or [_KINDS[number >= first] for number in range(layers)]
    return tuple(window if kind == _KINDS[1] else None for kind in kinds)


def head_weight(config: Config, held: Container[str]) -> str:
    """The name of the last map's weight: its own wins, and where the files have none and it is
    tied, that of the words stands for it (transformers 5.23, PreTrainedModel.tie_weights)."""
    return WORDS if config.get("tie_word_embeddings") and HEAD not in held else HEAD


def needed_of_decoder(config: Config, held: Container[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of a decoder's weights by name, given the names that files hold."""
    shape = DecoderShape.of(config)
    d, terms = int(config["hidden_size"]), int(config["vocab_size"])
    found = {WORDS: (terms, d), "model.norm.weight": (d,), head_weight(config, held): (terms, d)}
    for number in range(shape.layers):
        layer = f"model.layers.{number}"
        found |= {f"{layer}.{name}": sizes for name, sizes in layer_weights(config, shape).items()}
    return found


def layer_weights(config: Config, shape: DecoderShape) -> dict[str, tuple[int, ...]]:
    """The shapes of a layer's weights by their names in it."""
    d, h = int(config["hidden_size"]), int(config["intermediate_size"])
    q, k = shape.heads * shape.head_width, shape.key_heads * shape.head_width
    maps = {
        "self_attn.q_proj": (q, d, shape.biased),
        "self_attn.k_proj": (k, d, shape.biased),
        "self_attn.v_proj": (k, d, shape.biased),
        "self_attn.o_proj": (d, q, shape.out_biased),
        "mlp.gate_proj": (h, d, shape.mlp_biased),
        "mlp.up_proj": (h, d, shape.mlp_biased),
        "mlp.down_proj": (d, h, shape.mlp_biased),
    }
    found: dict[str, tuple[int, ...]]
    found = {"input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,)}
    for name, (out, inner, biased) in maps.items():
        found[f"{name}.weight"] = (out, inner)
        found |= {f"{name}.bias": (out,)} if biased else {}
    if shape.normed:
        found |= {f"self_attn.{name}_norm.weight": (shape.head_width,) for name in "qk"}
    return found
