#!/usr/bin/env bash
# sentence-transformers 6.2.0: CrossEncoder on a language model scores a passage that is only a picture's URL as an empty one.
#
# A pair goes through the chat template as messages. Where the template takes a content as a list of parts ("structured"), each
# of the two texts is looked at by itself: a URL of an image, a sound or a video, a link to YouTube, and all that begins with
# "data:image/" becomes a part of that type, though the model knows text alone (and its modalities say so). A template that writes
# the text parts leaves it out. Nothing is said. infer_modality has an argument against this, supported_modalities, which single
# inputs get and the two halves of a pair do not. A template that takes a content as a string ("flat") keeps the text.
# Seen: 2026-11-29, a tiny Llama: the two passages have the empty passage's score to the last bit, and scores of their own in the
# other form of the same template; ".html" and a URL within a sentence are texts in both.
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
media = ["https://x.org/wing.png", "data:image/ is how a picture within a page begins"]
texts = ["", "see https://x.org/wing.png", "https://x.org/wing.html", *media]
words = ["<pad>", "<unk>", "yes", "no", *dict.fromkeys(" ".join(["query document answer : heat", *texts]).split())]
backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
shape = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, initializer_range=0.5)
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **shape))
parts = "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
write = {"flat": "{{ m.content }}", "structured": parts}
print("sentence-transformers", __version__, "transformers", transformers.__version__)
scores = {}
for form, content in write.items():
    model.save_pretrained(form)
    template = "{% for m in messages %}{{ m.role }} : " + content + " {% endfor %}answer :"
    own = dict(pad_token="<pad>", unk_token="<unk>", chat_template=template)
    PreTrainedTokenizerFast(tokenizer_object=backend, **own).save_pretrained(form)
    scorer = CrossEncoder(form, device="cpu")
    assert scorer[0].input_formatter.message_format == form and set(scorer.modalities) == {"text", "message"}
    scores[form] = scorer.predict([("heat", text) for text in texts], batch_size=1).tolist()
    for text, score in zip(texts, scores[form]):
        print(f"{form:10} {score:.4f} {text!r}")
flat, structured = scores["flat"], scores["structured"]
assert len(set(flat)) == len(texts) and structured[:3] == flat[:3]
assert structured[3] == structured[4] == structured[0]
PY
