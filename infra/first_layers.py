"""A small model for tries: the first layers of a BERT, and all that lies beside its weights.

    python infra/first_layers.py FOLDER OUT --layers 2 --tokens 64

FOLDER is a bi-encoder or a cross-encoder as sentence-transformers or transformers saves it. OUT
reads so many tokens at most, and knows little before it is trained: its layers were not the last.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

from safetensors.numpy import load_file, save_file

#: Of a tensor's name, the number of its layer.
LAYER = re.compile(r"encoder\.layer\.(\d+)\.")
#: Of either kind of folder, the file that says how many tokens are read, and how it says so.
LIMITS = {
    "sentence_bert_config.json": "max_seq_length",
    "tokenizer_config.json": "model_max_length",
}


def first_layers(folder: Path, out: Path, layers: int, tokens: int) -> None:
    """Write OUT. Raises FileExistsError where it is there already."""
    shutil.copytree(folder, out)
    weights = out / "model.safetensors"
    tensors = load_file(weights)
    kept = {name: value for name, value in tensors.items() if _layer(name) < layers}
    if len(kept) == len(tensors):
        raise SystemExit(f"{folder} has no layer behind the first {layers}.")
    save_file(kept, weights, metadata={"format": "pt"})
    _set(out / "config.json", "num_hidden_layers", layers)
    for name, key in LIMITS.items():
        if (out / name).exists():
            _set(out / name, key, tokens)


def _layer(name: str) -> int:
    """Of a tensor; -1 where it is of none."""
    found = LAYER.search(name)
    return int(found[1]) if found else -1


def _set(path: Path, key: str, value: int) -> None:
    held = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**held, key: value}, indent=2) + "\n", "utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64)
    given = parser.parse_args()
    first_layers(given.folder, given.out, given.layers, given.tokens)


if __name__ == "__main__":
    main()
