"""A tiny random model of every family of text models that transformers knows, with a tokeniser.

Sizes are set by the names that configurations give them; what a family needs besides is in _OWN.
All weights are moved a little, so that none is zero and says nothing.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForSequenceClassification, PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from shardrank.models.folder.families import HALVES
from tests.tiny_models import byte_tokeniser, save

#: Sizes by the names of keys. A window is shorter than most texts.
_SIZES = (
    ("vocab_size|n_vocab|vocab_size_per_layer_input|entity_vocab_size", 400),
    ("(pronunciation|shape)_vocab_size", 50),
    ("max_position_embeddings|n_positions|n_ctx|max_seq_len(gth)?|seq_length|context_length", 128),
    ("hidden_size|d_model|n_embd|dim|emb_dim|hidden_dim|embedding_size|entity_emb_size", 32),
    ("(pronunciation|shape)_embed_dim", 16),
    (".*intermediate_size|.*ffn_dim|d_ff|n_inner|d_inner|.*ffn_hidden_size|inner_dim", 64),
    (".*num_hidden_layers|num_layers|n_layers?|(en|de)coder_layers|num_(en|de)coder_layers", 2),
    (".*num_attention_heads|num_heads|n_heads?|(en|de)coder_attention_heads|n_head", 4),
    ("num_(en|de)coder_attention_heads", 4),
    ("num_key_value_heads|n_head_kv|num_kv_heads", 2),
    ("head_dim|d_kv|dim_head|d_head|qk_(no|)rope_head_dim|qk_nope_head_dim|v_head_dim", 8),
    ("global_head_dim|rotary_dim|mamba_n_heads|mamba_d_head|mamba_d_state", 8),
    ("(q|kv)_lora_rank|mamba_chunk_size", 16),
    ("num_experts|n_routed_experts|num_local_experts|moe_num_experts", 4),
    ("num_experts_per_tok|moe_k|num_experts_per_token|moe_top_?k", 2),
    ("n_group|topk_group", 1),
    ("sliding_window|window_size|local_attention|local_radius|attention_window(_size)?", 8),
)
_IDS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}
_ALIKE = re.findall(  # as many heads of keys as of queries
    r"\S+",
    "axk1 axk2 deepseek_v2 deepseek_v3 deepseek_v32 dots1 esmc glm4_moe_lite glm_moe_dsa "
    "kimi_linear longcat_flash minicpm3 mistral_large4_text",
)
_NARROW = ("ministral", "hunyuan_v1_dense", "hunyuan_v1_moe")
_OWN: Mapping[str, dict[str, Any]] = {
    **{family: {"num_key_value_heads": 4} for family in _ALIKE},
    **{family: {"head_dim": 8} for family in _NARROW},
    "deepseek_v2": {"num_key_value_heads": 4, "num_experts_per_tok": 2},
    "dots1": {
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "num_key_value_heads": 4,
    },
    "esm": {"vocab_size": 400, "pad_token_id": 1, "mask_token_id": 3},
    "falcon_h1": {"mamba_d_ssm": 64},
    "funnel": {"block_sizes": [1, 1], "block_repeats": [1, 1], "initializer_std": 0.3},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8, "n_groups": 2},
    "mobilebert": {
        "embedding_size": 16,
        "true_hidden_size": 16,
        "intra_bottleneck_size": 16,
        "num_feedforward_networks": 1,
    },
    "nemotron": {"num_key_value_heads": 2},
    "yoso": {"use_expectation": True},
    "zaya": {"num_experts_per_tok": 1},
}


def tiny_config(family: str, **more: Any) -> PretrainedConfig:
    """A small configuration of a model type; `more` are keys that it has besides."""
    kind = CONFIG_MAPPING[family]
    values = {n: _size(n, value) for n, value in kind().to_dict().items()}
    changed = {n: value for n, value in values.items() if value is not None}
    for name, alias in getattr(kind, "attribute_map", {}).items():
        if alias in changed:
            changed.pop(name, None)
    return kind(**{**changed, **_OWN.get(family, {}), **more})


def save_encoder(folder: Path, family: str, **more: Any) -> Path:
    """A random model of the family, as transformers saves it; `more` are keys of its config."""
    torch.manual_seed(1)
    return _save(folder, AutoModel.from_config(tiny_config(family, **more)))


def save_half(folder: Path, family: str) -> Path:
    """The encoder of an encoder-decoder, saved without the decoder."""
    torch.manual_seed(1)
    module, _, name = f"transformers.{HALVES[family].path}".rpartition(".")
    return _save(folder, getattr(import_module(module), name)(tiny_config(family)))


def save_classifier(folder: Path, family: str, pad: bool, **more: Any) -> Path:
    """One with a label; `pad`: whether its configuration names a token for padding."""
    torch.manual_seed(1)
    config = tiny_config(family, **more)
    config.num_labels = 1
    config.pad_token_id = 1 if pad else None
    return _save(folder, AutoModelForSequenceClassification.from_config(config))


def _save(folder: Path, model: Any) -> Path:
    model = model.eval().float()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.is_floating_point():
                weight.add_(0.05 * torch.randn_like(weight))
        for module in model.modules():  # a padding token's row never learns
            if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx] = 0
    save(folder, model, byte_tokeniser())
    return folder


def _size(name: str, value: Any) -> Any:
    """What a key of a configuration becomes; none: as it is."""
    if isinstance(value, bool) or value is None:
        return None
    if name in _IDS:
        return _IDS[name]
    if name == "initializer_range":
        return 0.3
    if isinstance(value, list) and name in ("layer_types", "layers_block_type", "mlp_layer_types"):
        return (list(dict.fromkeys(value)) * 2)[:2]
    if isinstance(value, list) and name == "attention_window":
        return [8, 8]
    if not isinstance(value, int):
        return None
    return next((size for keys, size in _SIZES if re.fullmatch(keys, name)), None)
