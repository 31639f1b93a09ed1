#!/usr/bin/env bash
# sentence-transformers 6.2.0: CrossEncoder on a language model whose vocabulary lacks "yes" and "no" gives every pair the score 0.
#
# A causal model without modules.json is scored by the logit of the token "yes" less that of "no", looked up by
# convert_tokens_to_ids. For a missing token that gives the id of the unknown token, and None only where the tokeniser has none; the
# error that the library keeps for this case asks for None. So with both missing (say, there are "Yes" and "No" alone) the score is
# a logit less itself, and with one missing it is the logit of "yes" less that of "<unk>". Nothing is said either way.
# Seen: 2026-11-29, a tiny Llama under three vocabularies, with <unk>; the same without <unk> raises the error.
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
import torch
import transformers
from sentence_transformers import CrossEncoder, __version__
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

transformers.utils.logging.disable_progress_bar()
shape = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, initializer_range=0.5)
template = "{% for m in messages %}{{ m.role }} : {{ m.content }} {% endfor %}answer :"
pairs = [("heat", "heat flow"), ("heat", "wing"), ("wing", "shock flow")]


def scorer(folder, answers, unknown="<unk>"):
    words = ["<pad>", "<unk>", *answers, *"query document answer : heat flow wing shock".split()]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unknown))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **shape)).save_pretrained(folder)
    special = dict(pad_token="<pad>", chat_template=template) | ({"unk_token": unknown} if unknown else {})
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    return CrossEncoder(folder, device="cpu")


print("sentence-transformers", __version__, "transformers", transformers.__version__)
found = {}
for name, answers in {"both": ["yes", "no"], "one": ["yes", "No"], "none": ["Yes", "No"]}.items():
    made = scorer(name, answers)
    ids = (made[1].true_token_id, made[1].false_token_id)
    found[name] = ids, made.predict(pairs, activation_fn=torch.nn.Identity()).tolist()
    print(answers, "ids of yes and no:", ids, "scores:", [round(score, 4) for score in found[name][1]])
try:
    scorer("without", ["Yes", "No"], unknown=None)
    said = ""
except ValueError as error:
    said = str(error)
print("without <unk>:", said)
assert found["both"][0] == (2, 3) and len(set(found["both"][1])) == 3
assert found["one"][0] == (2, 1)
assert found["none"] == ((1, 1), [0.0, 0.0, 0.0])
assert "does not have 'yes' and/or 'no'" in said
PY
