"""What bf16 and 8 bits cost in quality: queries whose answer is known among all docstrings.

Deterministic, so one round is all. One document is relevant to a query, hence its nDCG@10 is
1 / log2(rank + 1) where that rank is 10 at most, and else 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from shardrank.core.arrays import Bool, Float32, Int32, Int64
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.corpus.stdlib import demo_queries, stdlib_documents
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.rerankers.cross import load_reranker
from tests.bench.bounds import Bound

DEPTH, FIRST = 20, 10
EXACT, SMALL = "fp32", ("bf16", "int8")
#: What a score of either may differ by from that in float32.
MOVED = {"bf16": 0.01, "int8": 0.05}


@dataclass(frozen=True)
class Task:
    """Queries, documents, and which document answers each query."""

    queries: list[str]
    documents: list[str]
    answers: Int64

    @classmethod
    def stdlib(cls) -> "Task":
        passages = stdlib_documents()
        places = {passage.doc_id: place for place, passage in enumerate(passages)}
        asked = demo_queries(passages)
        answers = np.array([places[query.doc_id] for query in asked])
        return cls([q.text for q in asked], [p.text for p in passages], answers)

    @cached_property
    def hits(self) -> Int64:
        """int64[q, DEPTH]: the documents nearest in float32, best first; all rerankers get them."""
        return self.nearest(EXACT)

    def nearest(self, dtype: str) -> Int64:
        """int64[q, DEPTH] documents by their vectors' products in this type, best first."""
        encoder = load_encoder(EncoderSettings.model_validate({"dtype": dtype}), "cpu")
        spans = encoder.tokeniser.encode(self.documents)
        vectors = encoder.encode_ids([each.ids for each in spans])
        scores = encoder.encode_queries(self.queries) @ vectors.T
        return np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]

    def scores(self, dtype: str) -> Float32:
        """float32[q, DEPTH]: σ of the logits of the hits, which is what CrossEncoder gives."""
        reranker = load_reranker(CrossSettings.model_validate({"dtype": dtype}), "cpu")
        queries, documents = (
            [each.ids for each in reranker.tokeniser.encode(texts)]
            for texts in (self.queries, self.documents)
        )
        left: Int32 = np.repeat(np.arange(len(self.queries), dtype=np.int32), DEPTH)
        right = self.hits.ravel().astype(np.int32)
        logits = reranker.score(queries, documents, left, right).logits.reshape(self.hits.shape)
        scores: Float32 = np.reciprocal(1 + np.exp(-logits))
        return scores

    def reranked(self, scores: Float32) -> Int64:
        """The hits in the order of their scores."""
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(self.hits, order, axis=1)

    def ndcg(self, ranked: Int64) -> float:
        """nDCG@10 of int64[q, ≥ 10] documents, best first."""
        found: Bool = ranked[:, :FIRST] == self.answers[:, None]
        return float((found / np.log2(np.arange(FIRST) + 2)).sum(axis=1).mean())


def bounds(folder: Path, rounds: int) -> Iterator[Bound]:
    """How far nDCG@10 falls, how far a score moves, and how far apart what changes places is."""
    task = Task.stdlib()
    exact, best = task.scores(EXACT), task.ndcg(task.hits)
    for dtype in SMALL:
        fallen = best - task.ndcg(task.nearest(dtype))
        yield Bound(f"embed {dtype}: loss of nDCG@10", "", [fallen], 0.003)
    for dtype in SMALL:
        small = task.scores(dtype)
        fallen = task.ndcg(task.reranked(exact)) - task.ndcg(task.reranked(small))
        yield Bound(f"rerank {dtype}: loss of nDCG@10", "", [fallen], 0.003)
        moved = float(abs(small - exact).max())
        yield Bound(f"rerank {dtype}: largest difference of a score", "", [moved], MOVED[dtype])
        if dtype == "bf16":
            name = f"rerank {dtype}: largest difference of two scores in another order at 10"
            yield Bound(name, "", [_swapped(exact, small)], 0.01)


def _swapped(exact: Float32, small: Float32) -> float:
    """The most by which a score of float32 exceeds one before it in the other's order."""
    order = np.argsort(-small, axis=1, kind="stable")[:, :FIRST]
    scores = np.take_along_axis(exact, order, axis=1)
    return float((scores - np.minimum.accumulate(scores, axis=1)).max())
