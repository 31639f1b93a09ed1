"""Labels for a student, from a ranking: a teacher's scores, and hard negatives.

    python examples/student_labels.py DEMO LABELS

DEMO is the folder that `make demo` made. What is printed is the first row, and how to train on them
all with sentence-transformers.
"""

import sys

import pyarrow.parquet as pq

import shardrank

demo, labels = sys.argv[1:]
made = shardrank.label(
    f"{demo}/ranked",
    labels,
    format="margin-mse",
    qrels=f"{demo}/source/qrels/test.tsv",
    overrides=["label.negatives=4", "label.near_duplicate=0.8"],
)
rows = pq.read_table(f"{labels}/margin-mse", columns=["query", "positive", "negative", "score"])
print(f"{rows.num_rows} rows of {made.counts.queries} queries")
print({name: str(value)[:60] for name, value in rows.slice(0, 1).to_pylist()[0].items()})
print(
    f"""
from datasets import load_dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.losses import MarginMSELoss

student = SentenceTransformer("…")
rows = load_dataset("{labels}/margin-mse", split="train")
SentenceTransformerTrainer(student, train_dataset=rows, loss=MarginMSELoss(student)).train()
"""
)
