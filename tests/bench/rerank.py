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
from tests.bench.harness import Benchmark, Contender, Duel, fastest
from tests.bench.texts import documents, questions

#: What two dtypes of one model may differ by, in a logit.
TOLERANCE = 0.01
MAX_TOKENS = 256
PER_QUERY, QUERIES_PER_DOCUMENT = 15, 2
BATCHES = (16, 32, 64)
DEFAULT, BEST = "CrossEncoder fp32", "CrossEncoder bf16"


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
    texts = pairs.texts()
    best = fastest([_peer(model, texts, torch.bfloat16, size) for size in BATCHES])
    contenders = [
        Contender(DEFAULT, _peer(model, texts, torch.float32, 32).run, None),
        Contender(BEST, best.run, None),
        Contender("shardrank fp32", partial(_ours, _load(model, "fp32"), pairs), TOLERANCE),
        Contender("shardrank bf16", partial(_ours, _load(model, "bf16"), pairs), TOLERANCE),
        Contender("shardrank int8", partial(_ours, _load(model, "int8"), pairs), TOLERANCE),
    ]
    duels = [
        Duel("shardrank fp32", DEFAULT, floor=1, goal=1.3),
        Duel("shardrank bf16", DEFAULT, floor=2.5, goal=3),
        Duel("shardrank bf16", BEST, floor=1.3, goal=1.6),
        Duel("shardrank int8", DEFAULT, floor=3.4, goal=5),
    ]
    name = f"rerank (peer's best: {best.name})"
    return Benchmark(name, "pairs", len(texts), contenders, duels, worst_logit)


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
