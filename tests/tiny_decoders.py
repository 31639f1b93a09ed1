"""Random causal language models of a few kilobytes, one for each way in which layers attend."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCABULARY = 96
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
_LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
_ALTERNATING = ["sliding_attention", "full_attention"]

#: By name: the family, and what its config.json says besides.
OWN: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, biases, no sharing": (
        "llama",
        {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4},
    ),
    "llama, tied, wide heads": ("llama", {"tie_word_embeddings": True, "head_dim": 16}),
    "llama, linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}),
    "llama 3": ("llama", {"rope_parameters": _LLAMA3}),
    "llama, yarn": ("llama", {"rope_parameters": _YARN}),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral, window": ("mistral", {"sliding_window": 6}),
    "qwen2": ("qwen2", {}),
    "qwen2, windows": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", {"head_dim": 8}),
}
PACKED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "gemma": ("gemma", {"head_dim": 8}),
    "gemma2": (
        "gemma2",
        {"head_dim": 8, "sliding_window": 6, "attn_logit_softcapping": 0.5,
         "final_logit_softcapping": 1.0, "query_pre_attn_scalar": 8},
    ),
    "gemma3": (
        "gemma3_text",
        {"head_dim": 8, "sliding_window": 6, "layer_types": _ALTERNATING},
    ),
    "phi3": ("phi3", {"pad_token_id": 0}),
    "phi": ("phi", {}),
    "gpt2": ("gpt2", {}),
    "gpt_neox": ("gpt_neox", {}),
    "olmo2": ("olmo2", {}),
    "olmo3": ("olmo3", {"sliding_window": 6, "layer_types": _ALTERNATING}),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 0], "pad_token_id": 0}),
    "granite": ("granite", {"logits_scaling": 2.0, "attention_multiplier": 0.3}),
    "gpt_oss": (
        "gpt_oss",
        {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 6,
         "layer_types": _ALTERNATING, "pad_token_id": 0,
         "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    ),
    "qwen3_moe": (
        "qwen3_moe",
        {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
    "cohere2": ("cohere2", {"sliding_window": 6, "layer_types": _ALTERNATING, "pad_token_id": 0}),
    "stablelm": ("stablelm", {}),
    "starcoder2": ("starcoder2", {"sliding_window": 6}),
    "opt": ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 32, "pad_token_id": 1}),
    "llama, heads of uneven turns": ("llama", {"partial_rotary_factor": 0.5}),
}  # fmt: skip
SINGLE: Mapping[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("bloom", {}),
    "falcon": ("falcon", {"alibi": True, "new_decoder_architecture": False}),
    "mamba": ("mamba", {}),
    "lfm2": ("lfm2", {"layer_types": ["conv", "full_attention"], "pad_token_id": 0}),
    "llama, dynamic": (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}},
    ),
}
_SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tiny_decoder(folder: Path, name: str, vocabulary: int = VOCABULARY) -> Path:
    """Save a random model into `folder`; equal arguments give equal files."""
    family, more = {**OWN, **PACKED, **SINGLE}[name]
    torch.manual_seed(5)
    config = AutoConfig.for_model(family, **{**_SHAPE, "vocab_size": vocabulary, **more})
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    for weights in model.parameters():
        if weights.ndim == 1:  # norms and biases, which begin as ones and zeros
            weights.data += 0.3 * torch.randn_like(weights)
    model.save_pretrained(folder)
    return folder
