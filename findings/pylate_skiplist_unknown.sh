#!/usr/bin/env bash
# pylate 1.6.0: where the vocabulary lacks one of the punctuation marks that documents leave out, every unknown token is left out.
#
# ColBERT leaves the vectors of punctuation out of documents. The marks (by default those of string.punctuation) are turned into ids
# by convert_tokens_to_ids, which gives the unknown token's id for a mark that is no token; that id then stands in the list. So all
# words that the tokeniser does not know lose their vectors, in documents and not in queries, and a vocabulary without "~" is enough.
# No message. sentence-transformers 6.2.0 leaves such marks out of its list.
# Seen: 2026-11-30, a vocabulary of three words, "," and ".": of "heat quark wing" 5 vectors by default, and 6 where the list holds
# these two marks; of "heat flow wing" 6 both times.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.3.0 sentence-transformers==5.3.0 datasets==5.2.0 accelerate==1.15.0
# Without what only its indexes and trainers want.
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps pylate==1.6.0 fastkmeans==0.5.0 ujson==5.12.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import logging, warnings
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
import importlib.metadata as about
import torch, transformers
from pylate import models
from tokenizers import Tokenizer, models as kinds, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

transformers.utils.logging.disable_progress_bar()
words = "[PAD] [UNK] [CLS] [SEP] [MASK] [Q] [D] heat flow wing , .".split()
shape = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_position_embeddings=64)
found = {}
for name, own in (("marks that the vocabulary lacks", None), ("only marks that it has", [",", "."])):
    backend = Tokenizer(kinds.WordLevel({w: i for i, w in enumerate(words)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(words), **shape)).save_pretrained("tiny")
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]").save_pretrained("tiny")
    model = models.ColBERT("tiny", device="cpu", query_prefix="[Q]", document_prefix="[D]", skiplist_words=own)
    texts = ["heat flow wing", "heat quark wing", "heat , wing"]
    found[name] = [len(each) for each in model.encode(texts, is_query=False, show_progress_bar=False)]
    print("pylate", about.version("pylate"), name, found[name])
assert found["only marks that it has"] == [6, 6, 5]
assert found["marks that the vocabulary lacks"] == [6, 5, 5]
PY
