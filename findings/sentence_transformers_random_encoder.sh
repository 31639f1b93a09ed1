#!/usr/bin/env bash
# sentence-transformers 6.2.0 on transformers 5.23.0: a whole Marian folder opened as an encoder gives random vectors.
#
# For encoder-decoders the library loads the encoder's class alone and hides the decoder's weights as unexpected. For T5
# the names of the encoder's weights fit; MarianEncoder asks for "layers.0…" where a folder saved by MarianMTModel has
# "model.encoder.layers.0…", so that every layer is initialised at random. Nothing is raised: the load report has a table
# of MISSING weights, one log line. (M2M100, Pegasus, Blenderbot and ProphetNet go the same way.)
# Seen: one folder opened twice in one process; the two vectors of one text differ.
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
import transformers
from sentence_transformers import SentenceTransformer, __version__
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast

transformers.utils.logging.set_verbosity_error()
words = ["<pad>", "<unk>", "</s>", "heat", "flow"]
backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
shape = dict(d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2)
config = MarianConfig(vocab_size=len(words), encoder_ffn_dim=16, decoder_ffn_dim=16, pad_token_id=0, eos_token_id=2,
                      decoder_start_token_id=0, init_std=0.5, **shape)
MarianMTModel(config).save_pretrained("whole")
PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", eos_token="</s>").save_pretrained("whole")
one, two = (SentenceTransformer("whole", device="cpu").encode(["heat flow"])[0] for _ in range(2))
most = float(abs(one - two).max())
print("sentence-transformers", __version__, "transformers", transformers.__version__)
print(f"one folder opened twice: the vectors of one text differ by up to {most:.3f}")
assert most > 0.01
PY
