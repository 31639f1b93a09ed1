"""Reranking: our reranker against sentence-transformers' CrossEncoder, from texts to raw logits.

Both load one folder, a classifier with a random head over the embedded model's weights: what a
head has learnt does not change its speed. A document stands in the pairs of two queries, as in a
ranking of many queries some do; we tokenise it once, as the sweep over parts does.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from transformers import AutoTokenizer, BertForSequenceClassification

from shardrank.core.arrays import Float32, Int32
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.rerankers.cross import CrossEncoderReranker, load_reranker
from tests.bench.distances import worst_logit
from tests.bench.embed import DTYPES, float_duels
from tests.bench.harness import Benchmark, Contender, fastest
from tests.bench.machine import float_dtypes
from tests.bench.texts import documents, questions

#: What two dtypes of one model may differ by, in a logit.
TOLERANCE = 0.01
MAX_TOKENS = 256
PER_QUERY, QUERIES_PER_DOCUMENT = 15, 2
BATCHES = (16, 32, 64)
DEFAULT = "CrossEncoder fp32"


class Pairs:
    """Pair i is (queries[left[i]], passages[right[i]]); every query has PER_QUERY documents."""

    def __init__(self, queries: int) -> None:
        self.queries = questions(queries)
        self.passages = documents(len(self.queries) * PER_QUERY // QUERIES_PER_DOCUMENT)
        count = len(self.queries) * PER_QUERY
        self.left: Int32 = (np.arange(count) // PER_QUERY).astype(np.int32)
        self.right: Int32 = (np.arange(count) % len(self.passages)).astype(np.int32)

    def texts(self) -> list[tuple[str, str]]:
        """The pairs as the peer wants them."""
        rows = zip(self.left, self.right, strict=True)
        return [(self.queries[left], self.passages[right]) for left, right in rows]


def benchmark(queries: int, folder: Path) -> Benchmark:
    """`queries` × 15 pairs with a model that is saved into `folder`."""
    pairs, model = Pairs(queries), save_cross_encoder(folder)
    texts, floats = pairs.texts(), float_dtypes()
    best = fastest([_peer(model, texts, DTYPES[floats[-1]], size) for size in BATCHES])
    tuned = f"CrossEncoder {floats[-1]}, {best.name}"
    contenders = [
        Contender(DEFAULT, _peer(model, texts, torch.float32, 32).run, None),
        Contender(tuned, best.run, None),
        *(
            Contender(f"shardrank {dtype}", partial(_ours, _load(model, dtype), pairs), TOLERANCE)
            for dtype in (*floats, "int8")
        ),
    ]
    duels = float_duels(DEFAULT, tuned)
    return Benchmark("rerank", "pairs", len(texts), contenders, duels, worst_logit)


def save_cross_encoder(folder: Path) -> Path:
    """A whole cross-encoder: the embedded model's weights under a head that is random."""
    base = resolve_model("embedded", None)
    torch.manual_seed(0)
    model = BertForSequenceClassification.from_pretrained(base, num_labels=1)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def _load(folder: Path, dtype: str) -> CrossEncoderReranker:
    values = {"model": str(folder), "dtype": dtype, "max_tokens": MAX_TOKENS}
    return load_reranker(CrossSettings.model_validate(values), "cpu")


def _ours(reranker: CrossEncoderReranker, pairs: Pairs) -> Float32:
    queries, passages = (
        [spans.ids for spans in reranker.tokeniser.encode(texts)]
        for texts in (pairs.queries, pairs.passages)
    )
    return reranker.score(queries, passages, pairs.left, pairs.right).logits


def _peer(
    folder: Path, texts: Sequence[tuple[str, str]], dtype: torch.dtype, batch_size: int
) -> Contender:
    model = CrossEncoder(
        str(folder), device="cpu", max_length=MAX_TOKENS, model_kwargs={"dtype": dtype}
    )
    run = partial(
        model.predict,
        list(texts),
        batch_size=batch_size,
        show_progress_bar=False,
        activation_fn=torch.nn.Identity(),
    )
    return Contender(f"batch {batch_size}", run, None)
