"""The training loop: softmax over a query's candidates, with the bi-encoder's cosine as a fixed
first guess.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import BertForSequenceClassification

from infra.reranker.data import Collection, Example
from infra.reranker.encoding import length_batches

TOKENS_PER_FORWARD = 2048


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, besides the data."""

    seed: int = 0
    steps: int = 320
    queries_per_step: int = 8
    negatives: int = 4
    max_length: int = 112
    rank: int = 32
    alpha: float = 32.0
    lora_rate: float = 1e-3
    whole_rate: float = 3e-4
    warmup: int = 20
    cosine_scale: float = 10.0
    plain_weight: float = 1.0
    minutes: float = 60.0


@dataclass(frozen=True)
class Batch:
    """Queries of one step with their sampled candidates: ``cosines`` float32[queries, candidates],
    the right one first.
    """

    pairs: list[tuple[str, str]]
    cosines: torch.Tensor


def train(
    model: BertForSequenceClassification,
    tokenizer: Any,
    collections: list[Collection],
    recipe: Recipe,
    checkpoint: Callable[[int], None],
    start: int = 0,
) -> list[float]:
    """Train ``model`` in place and return the loss of every step. ``checkpoint`` is called every 25
    steps. Rates warm up, then fall to zero in a line.
    """
    # No dropout: one pass over the data overfits little, and dropout takes time.
    model.eval()  # type: ignore[no-untyped-call]
    optimizer = torch.optim.AdamW(_groups(model, recipe), weight_decay=0.01)
    rates = [group["lr"] for group in optimizer.param_groups]
    log = _Log(recipe, start)
    for step, batch in enumerate(batches(collections, recipe), 1):
        if step <= start:
            continue  # a resumed run meets the queries that come next
        if log.progress(step) >= 1:
            break
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min((step - start) / recipe.warmup, 1 - log.progress(step))
        logits = _logits(model, tokenizer, batch, recipe)
        loss = _loss(logits, batch.cosines, recipe)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        log.add(step, logits.detach(), batch.cosines)
        if step % 25 == 0:
            checkpoint(step)
    return log.losses


class _Log:
    """Losses so far, and how much of the recipe is done."""

    def __init__(self, recipe: Recipe, start: int) -> None:
        self.recipe, self.started, self.before = recipe, time.monotonic(), start / recipe.steps
        self.losses: list[float] = []
        self.gains: list[float] = []  # over a constant logit: batches differ more than steps do

    def progress(self, step: int) -> float:
        """Share of the steps or, where that is more, of the minutes that have passed."""
        spent = (time.monotonic() - self.started) / 60 / self.recipe.minutes
        return max((step - 1) / self.recipe.steps, self.before + (1 - self.before) * spent)

    def add(self, step: int, logits: torch.Tensor, cosines: torch.Tensor) -> None:
        """Record a step: logits and cosines are float32[queries, candidates]."""
        loss = float(_loss(logits, cosines, self.recipe))
        self.losses.append(loss)
        self.gains.append(float(_loss(torch.zeros_like(logits), cosines, self.recipe)) - loss)
        if step % 10 == 0:
            loss, gain = sum(self.losses[-10:]) / 10, sum(self.gains[-10:]) / 10
            seconds = time.monotonic() - self.started
            print(f"step {step} loss {loss:.3f} gain {gain:.3f} {seconds:.0f} s", flush=True)


def batches(collections: list[Collection], recipe: Recipe) -> Iterator[Batch]:
    """Yield one batch a step. Every collection gives the same number of queries, each in its own
    shuffled rounds.
    """
    rng = random.Random(recipe.seed)
    streams = [_rounds(collection, random.Random(rng.random())) for collection in collections]
    for _ in range(recipe.steps):
        chosen = [next(streams[i % len(streams)]) for i in range(recipe.queries_per_step)]
        yield _batch(chosen, recipe, rng)


def _rounds(collection: Collection, rng: random.Random) -> Iterator[tuple[Collection, Example]]:
    while True:
        for index in rng.sample(range(len(collection.examples)), len(collection.examples)):
            yield collection, collection.examples[index]


def _batch(chosen: list[tuple[Collection, Example]], recipe: Recipe, rng: random.Random) -> Batch:
    pairs, cosines = [], []
    for collection, example in chosen:
        places = rng.sample(range(1, len(example.rows)), recipe.negatives)
        for place in (0, *places):
            pairs.append((example.query, collection.passages[example.rows[place]]))
        cosines.append([example.cosines[place] for place in (0, *places)])
    return Batch(pairs, torch.tensor(cosines))


def _logits(
    model: BertForSequenceClassification, tokenizer: Any, batch: Batch, recipe: Recipe
) -> torch.Tensor:
    """Return float32[queries, candidates]; pairs of like length go through the model together."""
    queries, passages = map(list, zip(*batch.pairs, strict=True))
    encoded = tokenizer(queries, passages, truncation=True, max_length=recipe.max_length)
    groups = length_batches([len(row) for row in encoded["input_ids"]], TOKENS_PER_FORWARD)
    pieces = []
    for rows in groups:
        inputs = tokenizer.pad(
            {k: [v[i] for i in rows] for k, v in encoded.items()}, return_tensors="pt"
        )
        with torch.autocast("cpu", torch.bfloat16):
            pieces.append(model(**inputs).logits.float()[:, 0])
    order = torch.tensor([row for rows in groups for row in rows]).argsort()
    return torch.cat(pieces)[order].view(batch.cosines.shape)


def _loss(logits: torch.Tensor, cosines: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Cross-entropy of the right candidate (column 0) under logit + scale · cosine, and a little
    under the logit alone.

    The first term teaches what retrieval does not know yet, as boosting does with residuals; the
    second keeps the logit meaningful as a teacher's score.
    """
    target = torch.zeros(len(logits), dtype=torch.long)
    boosted = nn.functional.cross_entropy(logits + recipe.cosine_scale * cosines, target)
    return boosted + recipe.plain_weight * nn.functional.cross_entropy(logits, target)


def _groups(model: BertForSequenceClassification, recipe: Recipe) -> list[dict[str, Any]]:
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for name, p in trained if "lora_" in name], "lr": recipe.lora_rate},
        {"params": [p for name, p in trained if "lora_" not in name], "lr": recipe.whole_rate},
    ]
