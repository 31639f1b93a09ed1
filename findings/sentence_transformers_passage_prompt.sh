#!/usr/bin/env bash
# sentence-transformers 6.2.0: a saved prompt called "passage" (or "corpus") is never put before documents.
#
# The docstring of SentenceTransformer.encode_document says that it takes "the first available prompt" of "document",
# "passage" and "corpus". But every model has a prompt called "document", an empty one, from its construction on, so that
# the first candidate is always found and the other two are never reached. A model saved with
# prompts = {"query": "query: ", "passage": "passage: "}, as E5 names its two, embeds documents without a prefix.
# Seen: encode_document equals encode(prompt="") to the last bit, and lies at a cosine below 1 from encode(prompt="passage: ").
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 sentence-transformers==6.2.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import logging, warnings
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from sentence_transformers import SentenceTransformer, __version__
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

words = ["[PAD]", "[UNK]", "passage", "query", ":", "heat", "flow"]
backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
torch.manual_seed(0)
shape = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
BertModel(BertConfig(vocab_size=len(words), initializer_range=0.5, **shape)).save_pretrained("bert")
PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]").save_pretrained("bert")
body = Transformer("bert")
made = SentenceTransformer(modules=[body, Pooling(16, "mean")], prompts={"query": "query: ", "passage": "passage: "})
made.save_pretrained("saved")

model = SentenceTransformer("saved", device="cpu")
found = model.encode_document(["heat flow"])[0]
plain = model.encode(["heat flow"], prompt="")[0]
prefixed = model.encode(["heat flow"], prompt="passage: ")[0]
cosine = float(found @ prefixed / np.linalg.norm(found) / np.linalg.norm(prefixed))
print("sentence-transformers", __version__, "prompts after loading:", model.prompts)
print("encode_document equals encode without a prompt:", bool((found == plain).all()))
print(f"its cosine to encode with the passage prompt: {cosine:.4f}")
assert model.prompts == {"query": "query: ", "document": "", "passage": "passage: "}
assert (found == plain).all() and cosine < 0.999
PY
