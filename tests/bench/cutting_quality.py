"""What ways of cutting find, and ways of scoring a document by its passages, by exact search.

python -m tests.bench.cutting_quality COLLECTION --model FOLDER [--tokens 256] [--every 20]

The collection has queries.jsonl, qrels and corpus*.parquet or corpus.jsonl; of the documents that
no query is judged by, each so many-th is taken. nDCG@10 and Recall@100 of documents. By similarity
only where the model is a static table.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.passage_settings import CutBy
from shardrank.core.protocols import SentenceVectors
from shardrank.core.text import passage_text
from shardrank.corpus.cut_rule import CutRule, Passage
from shardrank.corpus.cutting import cut_documents
from shardrank.corpus.validate import Document
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from shardrank.models.encoders.sentence_table import load_sentences
from tests.bench.beir import Collection

WAYS: tuple[CutBy, ...] = ("tokens", "sentences", "paragraphs", "headings", "similarity")
OVERLAP, FIRST, DEEP = 32, 10, 100


@dataclass(frozen=True, eq=False)
class Task:
    """Documents, the vectors of judged queries float32[q, d], and each document's gain for each."""

    documents: Sequence[Document]
    queries: Float32
    gains: Float32


def read(folder: Path, every: int, encoder: BiEncoder) -> Task:
    """A collection, or a part of it."""
    collection = Collection(folder, folder)
    judged = collection.judgements
    wanted = {judgement.doc_id for judgement in judged}
    kept = [row for n, row in enumerate(_rows(folder)) if n % every == 0 or row[0] in wanted]
    documents = [Document(n, *row) for n, row in enumerate(kept)]
    lines = map(json.loads, collection.queries.read_text("utf-8").splitlines())
    asked = {judgement.query_id for judgement in judged}
    questions = {row["_id"]: row["text"] for row in lines if row["_id"] in asked}
    places = {document.doc_id: n for n, document in enumerate(documents)}
    rows = {name: n for n, name in enumerate(questions)}
    gains = np.zeros((len(rows), len(documents)), np.float32)
    for one in judged:
        if one.query_id in rows and one.doc_id in places:
            gains[rows[one.query_id], places[one.doc_id]] = max(0, one.relevance)
    found = gains.any(axis=1)
    return Task(documents, encoder.encode_queries(list(questions.values()))[found], gains[found])


def _rows(folder: Path) -> Iterator[tuple[str, str, str]]:
    for path in sorted(folder.glob("corpus*.parquet")):
        table = pq.read_table(path)
        yield from zip(*(table[name].to_pylist() for name in ("_id", "title", "text")), strict=True)
    if (folder / "corpus.jsonl").exists():
        for line in (folder / "corpus.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            yield row["_id"], row.get("title") or "", row["text"]


def cut(
    task: Task, encoder: BiEncoder, rule: CutRule, sentences: SentenceVectors | None
) -> tuple[list[Passage], Int32]:
    """All passages, and the number of the document of each."""
    found: list[Passage] = []
    owners: list[int] = []
    for at in range(0, len(task.documents), 1024):
        batch = task.documents[at : at + 1024]
        made = cut_documents(batch, encoder.tokeniser, rule, sentences)
        for n, passages in enumerate(made):
            found += passages
            owners += [at + n] * len(passages)
    return found, np.array(owners, np.int32)


def folds(scores: Float32, owners: Int32, documents: int) -> Iterator[tuple[str, Float32]]:
    """float32[q, documents] by each way of scoring a document by its passages."""
    order = np.lexsort((scores * -1, np.broadcast_to(owners, scores.shape)), axis=1)
    sizes = np.bincount(owners, minlength=documents)
    ends = np.cumsum(sizes)
    sums = np.cumsum(np.take_along_axis(scores, order, axis=1), axis=1, dtype=np.float64)
    sums = np.concatenate([np.zeros((len(scores), 1)), sums], axis=1)
    begins = ends - sizes
    for name, most in (("max", 1), ("mean of 2", 2), ("mean of 3", 3), ("mean", len(owners))):
        taken = np.minimum(sizes, most)
        total = sums[:, begins + taken] - sums[:, begins]
        yield name, np.where(taken > 0, total / np.maximum(taken, 1), -np.inf).astype(np.float32)


def figures(scores: Float32, gains: Float32) -> tuple[float, float]:
    """Mean nDCG@10 and Recall@100."""
    ranked: Int64 = np.argsort(-scores, axis=1, kind="stable")[:, :DEEP]
    weights = 1 / np.log2(np.arange(FIRST) + 2)
    found = np.take_along_axis(gains, ranked, axis=1)
    best = -np.sort(-gains, axis=1)[:, :FIRST] @ weights
    recall = (found > 0).sum(axis=1) / (gains > 0).sum(axis=1)
    return float((found[:, :FIRST] @ weights / best).mean()), float(recall.mean())


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    encoder = load_encoder(EncoderSettings(model=asked.model), "cpu")
    task = read(asked.collection, asked.every, encoder)
    print(f"{len(task.documents)} documents, {len(task.queries)} queries", flush=True)
    rule = CutRule(asked.tokens, OVERLAP, True, "", encoder.tokeniser.specials)
    table = not encoder.card.pooling  # a static table's vectors are means already
    for way in WAYS[: None if table else -1]:
        alike = way == "similarity"
        sentences = load_sentences(asked.model, encoder.card.fingerprint) if alike else None
        passages, owners = cut(task, encoder, replace(rule, by=way, rules=1), sentences)
        ids: dict[str, list[Int32]] = {way: [passage.tokens for passage in passages]}
        if way == "headings":
            both = zip(passages, owners.tolist(), strict=True)
            bare = [passage_text(task.documents[owner].title, p.text) for p, owner in both]
            spans = encoder.tokeniser.encode(bare)
            ids["headings, without their words"] = [s.ids[: rule.room] for s in spans]
        for name, tokens in ids.items():
            scores = task.queries @ encoder.encode_ids(tokens).T
            for fold, folded in folds(scores, owners, len(task.documents)):
                ndcg, recall = figures(folded, task.gains)
                print(
                    f"| {name} | {len(owners)} | {fold} | {ndcg:.4f} | {recall:.4f} |", flush=True
                )


if __name__ == "__main__":
    main()
