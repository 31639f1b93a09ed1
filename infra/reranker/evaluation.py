"""Judging a cross-encoder: exact retrieval, its first 50 reranked, nDCG@10 before and after."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import torch
from ir_measures import nDCG
from transformers import BertForSequenceClassification

from infra.reranker.data import Collection, passage_text
from infra.reranker.encoding import BiEncoder, Floats, Ints, length_batches, top_k

DEPTH = 50
TOKENS_PER_FORWARD = 8192
GRID = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class Benchmark:
    """Documents and judged queries: ``qrels`` is query id → document id → grade."""

    name: str
    doc_ids: list[str]
    texts: list[str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Scored:
    """``rows`` int64[queries, 50] into the documents, with ``cosines`` and ``logits``
    float32[queries, 50].
    """

    rows: Ints
    cosines: Floats
    logits: Floats


def read_beir(folder: Path, name: str, split: str = "test") -> Benchmark:
    """Read a collection in BEIR's layout, with those of its queries that the split judges."""
    documents = _lines(folder / "corpus.jsonl")
    qrels: dict[str, dict[str, int]] = {}
    with open(folder / "qrels" / f"{split}.tsv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    texts = [passage_text(row.get("title", ""), row["text"]) for row in documents]
    queries = {
        row["_id"]: row["text"] for row in _lines(folder / "queries.jsonl") if row["_id"] in qrels
    }
    return Benchmark(name, [row["_id"] for row in documents], texts, queries, qrels)


def _lines(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def sample(benchmark: Benchmark, queries: int) -> Benchmark:
    """Keep the queries with the lowest hashes: the same ones on every machine."""
    lowest = sorted(benchmark.queries, key=lambda q: hashlib.sha256(q.encode()).digest())[:queries]
    kept = {query: benchmark.queries[query] for query in sorted(lowest)}
    return replace(benchmark, queries=kept, qrels={q: benchmark.qrels[q] for q in kept})


def score(
    benchmark: Benchmark,
    encoder: BiEncoder,
    model: BertForSequenceClassification,
    tokenizer: Any,
    max_length: int,
) -> Scored:
    """Retrieve the first 50 documents of every query and give each its logit."""
    queries = list(benchmark.queries.values())
    rows, cosines = top_k(encoder(queries), encoder(benchmark.texts), DEPTH)
    pairs = [
        (query, benchmark.texts[row])
        for query, found in zip(queries, rows, strict=True)
        for row in found
    ]
    logits = pair_logits(pairs, model, tokenizer, max_length)
    return Scored(rows, cosines, logits.reshape(rows.shape))


@torch.inference_mode()
def pair_logits(
    pairs: Sequence[tuple[str, str]],
    model: BertForSequenceClassification,
    tokenizer: Any,
    max_length: int,
) -> Floats:
    """Return float32[pairs], computed in bfloat16 with batches of like length."""
    queries, passages = map(list, zip(*pairs, strict=True))
    encoded = tokenizer(queries, passages, truncation="only_second", max_length=max_length)
    logits = np.zeros(len(pairs), np.float32)
    for rows in length_batches([len(row) for row in encoded["input_ids"]], TOKENS_PER_FORWARD):
        inputs = tokenizer.pad(
            {k: [v[i] for i in rows] for k, v in encoded.items()}, return_tensors="pt"
        )
        with torch.autocast("cpu", torch.bfloat16):
            logits[rows] = model(**inputs).logits.float()[:, 0].numpy()
    return logits


def ndcg(benchmark: Benchmark, scored: Scored, interpolation: float) -> float:
    """nDCG@10 of α·logit + (1-α)·cosine over the retrieved documents; α = 0 is retrieval alone."""
    scores = interpolation * scored.logits + (1 - interpolation) * scored.cosines
    run = {
        query: {
            benchmark.doc_ids[row]: float(value) for row, value in zip(rows, values, strict=True)
        }
        for query, rows, values in zip(benchmark.queries, scored.rows, scores, strict=True)
    }
    return float(ir_measures.calc_aggregate([nDCG @ 10], benchmark.qrels, run)[nDCG @ 10])


def figures(benchmark: Benchmark, scored: Scored, interpolation: float) -> dict[str, object]:
    """Return what is reported of a collection: nDCG@10 retrieved, reranked, and along the grid."""
    return {
        "documents": len(benchmark.doc_ids),
        "queries": len(benchmark.queries),
        "retrieved": round(ndcg(benchmark, scored, 0.0), 4),
        "reranked": round(ndcg(benchmark, scored, interpolation), 4),
        "by_interpolation": {str(a): round(ndcg(benchmark, scored, a), 4) for a in GRID},
    }


def score_examples(
    collection: Collection, model: BertForSequenceClassification, tokenizer: Any, max_length: int
) -> list[tuple[Floats, Floats]]:
    """Return (cosines, logits) of every example's candidates, float32[candidates] each, the right
    one first.
    """
    examples = collection.examples
    pairs = [(e.query, collection.passages[row]) for e in examples for row in e.rows]
    logits = pair_logits(pairs, model, tokenizer, max_length)
    pieces = np.split(logits, np.cumsum([len(e.rows) for e in examples])[:-1])
    return [
        (np.asarray(e.cosines, np.float32), piece)
        for e, piece in zip(examples, pieces, strict=True)
    ]


def curve(scored: list[tuple[Floats, Floats]]) -> dict[float, float]:
    """Return nDCG@10 for every interpolation of the grid, where the right candidate comes first and
    is the only one.
    """
    return {
        alpha: round(float(np.mean([_gain(alpha, *pair) for pair in scored])), 4) for alpha in GRID
    }


def _gain(alpha: float, cosines: Floats, logits: Floats) -> float:
    scores = alpha * logits + (1 - alpha) * cosines
    rank = int((scores[1:] >= scores[0]).sum())  # from 0; ties count against us
    return float(1 / np.log2(rank + 2)) if rank < 10 else 0.0


def robust_interpolation(values: dict[float, float]) -> float:
    """Return the smallest α within 1% of the best: the less it leans on the logit, the less can go
    wrong elsewhere.
    """
    best = max(values.values())
    return min(alpha for alpha, value in values.items() if value >= 0.99 * best)
