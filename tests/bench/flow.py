"""The whole index flow on Ray against the model alone: what reading, checking, cutting, writing,
shipping between processes and starting Ray cost beside the products.

The model alone is our own kernel in one process on all cores: tokenise, encode, and nothing kept.
"""

import itertools
import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from tests.bench.command import settings, shardrank
from tests.bench.distances import worst_cosine
from tests.bench.harness import Benchmark, Contender, Duel
from tests.bench.machine import float_dtypes
from tests.bench.texts import documents

ALONE, OURS = "the model alone", "shardrank index"
#: Stored vectors are fp16; one thread or two round a sum in bf16 differently.
TOLERANCE = 2e-4
#: Of a passage: shorter than most corpora's, for what Ray costs is by the unit and not by the word.
WORDS = 40
DTYPE = float_dtypes()[-1]
SETTINGS = settings(
    cluster__executor="ray",
    encoder__dtype=DTYPE,
    index__kind="exact",
    passages__split="false",
)


def benchmark(passages: int, folder: Path) -> Benchmark:
    """`passages` of 40 words each."""
    texts = short_texts(passages, WORDS)
    corpus = folder / "flow.jsonl"
    write_corpus(texts, corpus)
    encoder = load_encoder(EncoderSettings.model_validate({"dtype": DTYPE}), "cpu")
    contenders = [
        Contender(ALONE, partial(alone, encoder, texts), None),
        Contender(OURS, partial(whole_flow, corpus, folder / "index"), TOLERANCE),
    ]
    duels = [Duel(OURS, ALONE, floor=0.95, goal=1.1)]
    cores = os.cpu_count() or 1
    return Benchmark("whole flow", "passages", passages, contenders, duels, worst_cosine, cores)


def short_texts(count: int, length: int) -> list[str]:
    """Runs of so many words of docstrings, each with a number that makes it one of its kind."""
    words = " ".join(documents(10_000)).split()  # all that there are
    starts = range(0, len(words) - length, 7)
    runs = itertools.cycle(" ".join(words[at : at + length]) for at in starts)
    return [f"{next(runs)} {number}" for number in range(count)]


def write_corpus(texts: Sequence[str], path: Path) -> None:
    """JSON Lines, in an order that the parts keep."""
    rows = ({"_id": f"d{n:07d}", "text": text} for n, text in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def alone(encoder: BiEncoder, texts: Sequence[str]) -> Float32:
    """Tokenise and encode, 16,384 texts at a time: batches are more even than our parts' are."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    parts = [texts[at : at + 16_384] for at in range(0, len(texts), 16_384)]
    found = [encoder.encode_ids([s.ids for s in encoder.tokeniser.encode(part)]) for part in parts]
    torch.set_num_threads(before)
    return np.concatenate(found)


def whole_flow(corpus: Path, index: Path) -> Float32:
    """The command, from nothing; then the vectors that it stored, in the corpus's order."""
    shutil.rmtree(index, ignore_errors=True)
    shardrank("index", corpus, index, *SETTINGS)
    return stored(index)


def stored(index: Path) -> Float32:
    """float32[n, d] of all parts of version 1."""
    version = json.loads((index / "manifests" / "000001.json").read_bytes())
    tables = [
        pq.read_table(index / part["passages"]["key"], columns=["doc_id"]).append_column(
            "vector", pq.read_table(index / part["columns"]["dense"]["file"]["key"])["vector"]
        )
        for part in version["parts"]
    ]
    return matrix(pa.concat_tables(tables).sort_by("doc_id")["vector"])
