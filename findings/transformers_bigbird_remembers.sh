#!/usr/bin/env bash
# transformers 5.23.0: one short text switches BigBird's block-sparse attention off for all later ones.
#
# BigBirdModel with attention_type = "block_sparse" (its default) cannot split a short input into blocks, warns once, and
# calls set_attention_type("original_full") on itself. It never goes back, so that the states of a long text depend on
# whether a short one was seen before in the same process. A batch job that meets its texts in another order, or on more
# workers, gets other vectors.
# Seen: the same long input before and after one short one; the largest difference of a hidden state.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 numpy
"$folder/venv/bin/python" - <<'PY'
import warnings
warnings.simplefilter("ignore")
import torch
import transformers
from transformers import BigBirdConfig, BigBirdModel

transformers.utils.logging.set_verbosity_error()
torch.manual_seed(0)
shape = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, block_size=4, num_random_blocks=1)
model = BigBirdModel(BigBirdConfig(vocab_size=100, max_position_embeddings=256, initializer_range=0.5, **shape)).eval()
long, short = torch.arange(5, 90)[None] % 100, torch.arange(5, 12)[None]
with torch.inference_mode():
    before = model(input_ids=long)[0]
    again = model(input_ids=long)[0]
    model(input_ids=short)
    after = model(input_ids=long)[0]
print("transformers", transformers.__version__, f"before again: {(before - again).abs().max():.4f}, after a short text: {(before - after).abs().max():.4f}")
assert (before - again).abs().max() < 1e-5 < 0.01 < (before - after).abs().max()
PY
