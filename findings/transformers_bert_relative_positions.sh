#!/usr/bin/env bash
# transformers 5.23.0 no longer knows relative positions in BERT: a folder saved by 4.57 with
# position_embedding_type = "relative_key" loads, and gives other hidden states.
#
# config.json still says relative_key and the weights still hold attention.self.distance_embedding.weight. Release 5 reads
# neither: the key is kept as an attribute that no code looks at, and the weights are one line "UNEXPECTED" in the load
# report, which a log level of error hides. Nothing is raised.
# Seen: the same folder and input ids; the largest difference of a hidden state is far above rounding.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for release in 4.57.1 5.23.0; do
    python3 -m venv "$folder/$release"
    "$folder/$release/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 "transformers==$release" numpy
done
cd "$folder"
cat > states.py <<'PY'
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import torch
import transformers
from transformers import BertConfig, BertModel

if not sys.argv[1:]:
    raise SystemExit("which folder?")
if sys.argv[2:] == ["make"]:
    torch.manual_seed(0)
    shape = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
    config = BertConfig(vocab_size=50, initializer_range=0.5, position_embedding_type="relative_key", **shape)
    BertModel(config).save_pretrained(sys.argv[1])
model, report = BertModel.from_pretrained(sys.argv[1], output_loading_info=True)
with torch.inference_mode():
    states = model.eval()(input_ids=torch.arange(5, 25)[None])[0]
np.save(f"{transformers.__version__}.npy", states.numpy())
print(transformers.__version__, "says", model.config.position_embedding_type, "unexpected:", sorted(report["unexpected_keys"])[:1])
PY
4.57.1/bin/python states.py bert make
5.23.0/bin/python states.py bert
5.23.0/bin/python - <<'PY'
import numpy as np
old, new = np.load("4.57.1.npy"), np.load("5.23.0.npy")
most = float(abs(old - new).max())
print(f"largest difference of a hidden state: {most:.3f}")
assert most > 0.1
PY
