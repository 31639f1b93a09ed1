#!/usr/bin/env bash
# sentence-transformers 6.2.0: CrossEncoder on a language model can lose the whole query to a long passage, and ranks by none.
#
# A pair rendered by a chat template is cut at max_length from the right, as one string. The template's tail (the question's end) is
# then written over the last tokens that were kept; no room is made for it, and no text is shortened for the other. In a template
# that has the passage before the query, a passage of max_length tokens leaves nothing of the query, so that any query gets the same
# score; in one with the query first it is the passage that goes, under a long query. No message, and no count. Without a template
# the same model's pairs are cut at the longer text, and both texts stay.
# Seen: 2026-11-29, a tiny Llama, 16 tokens: two queries, one score, under the first template; two scores without a template.
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
words = "<pad> <unk> yes no query document answer : heat flow wing 0 1 2 3 4".split()
backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
shape = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, initializer_range=0.5)
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **shape))
query, document = "query : {{ messages[0].content }} ", "document : {{ messages[1].content }} "
long = " ".join(["wing"] * 40)
cases = {
    "passage first": (document + query + "answer :", [("heat", long), ("flow", long)]),
    "query first": (query + document + "answer :", [(long, "heat"), (long, "flow")]),
    "no template": (None, [("heat", long), ("flow", long)]),
}
print("sentence-transformers", __version__, "transformers", transformers.__version__)
same = {}
for name, (template, pairs) in cases.items():
    model.save_pretrained(name)
    own = {"chat_template": template} if template else {}
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", **own).save_pretrained(name)
    scorer = CrossEncoder(name, device="cpu", max_length=16)
    one, two = scorer.predict(pairs).tolist()
    same[name] = one == two
    print(f"{name}: {one:.4f} {two:.4f}")
    for ids in scorer.preprocess(pairs)["input_ids"]:
        print("   ", scorer.tokenizer.decode(ids))
assert same == {"passage first": True, "query first": True, "no template": False}
PY
