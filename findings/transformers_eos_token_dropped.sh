#!/usr/bin/env bash
# transformers 5.23.0: add_eos_token of tokenizer_config.json does nothing beside a tokenizer.json, and works as an argument.
#
# A folder whose tokenizer_config.json says add_eos_token = true (as encoders that pool by the last token are saved) is
# loaded with the template of tokenizer.json alone. The same key given to from_pretrained puts the token there. No message.
# Seen: LlamaTokenizer's ids of one text, from the file and from the argument.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import json, warnings
warnings.simplefilter("ignore")
import transformers
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer

alphabet = ["<unk>", "<s>", "</s>", "\u2581", "h", "e", "a", "t"]
Tokenizer(models.BPE({piece: i for i, piece in enumerate(alphabet)}, [], unk_token="<unk>")).save("tokenizer.json")
tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
with open("tokenizer_config.json", "w") as file:
    json.dump({"tokenizer_class": "LlamaTokenizer", "add_eos_token": True, **tokens}, file)
written = AutoTokenizer.from_pretrained(".")("heat")["input_ids"]
given = AutoTokenizer.from_pretrained(".", add_eos_token=True)("heat")["input_ids"]
print("transformers", transformers.__version__, "from the file:", written, "as an argument:", given)
assert written[-1] != 2 and given[-1] == 2
PY
