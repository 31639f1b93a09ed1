"""What an index finds while another encoder takes over: 0, 10, 50 and 100% of its documents are
embedded by it, the others mapped from the old encoder's vectors.

python -m tests.bench.backfill DATA/cranfield OLD NEW [--max-tokens 256]

OLD and NEW are folders of dense encoders, or embedded. Each document is one passage, its beginning.
Of four parts of the corpus each is mapped by a map that is fitted on the other three, so that no
map has seen what it maps. Recall@10 is of real queries, against exact search over the new encoder's
vectors of all documents; nDCG@10 of the judgements.

Beside the ways that an index tries there is one by gradient descent, in the manner of BT² (arXiv
2302.03989): an affine map and a hidden layer beside it are trained so that mapped vectors lie at
the new ones and have their neighbours. BT² itself trains the new encoder, too, which is given here.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import torch

from shardrank.core.arrays import Float32, Int64
from shardrank.core.measures import measure
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.text import passage_text
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.encoders.space_fit import WAYS, Pairs, fit_space, fit_way, through
from shardrank.models.forward.threads import use_threads
from tests.bench.anchor_recall import json_lines
from tests.bench.beir import Collection

SHARES = (0.0, 0.1, 0.5, 1.0)
NEAREST, DEPTH, FOLDS, SEED = 10, 100, 4, 0
STEPS, BATCH, HIDDEN, SHARPNESS = 200, 256, 512, 20.0

#: Old vectors → vectors among the new ones.
Mapper = Callable[[Float32], Float32]


@dataclass(frozen=True)
class Embedded:
    """A collection by one encoder: float32[n, d] and float32[q, d]; whether they have length 1."""

    documents: Float32
    queries: Float32
    unit: bool


@dataclass(frozen=True)
class Bench:
    """A collection by two encoders."""

    collection: Collection
    doc_ids: list[str]
    query_ids: list[str]
    old: Embedded
    new: Embedded

    def line(self, name: str, mapped: Float32) -> str:
        """Of a way, at each share."""
        found = [self._at(share, mapped) for share in SHARES]
        return f"{name:>16} " + "  ".join(f"{recall:.3f} {ndcg:.3f}" for recall, ndcg in found)

    def _at(self, share: float, mapped: Float32) -> tuple[float, float]:
        """Recall@10 and nDCG@10, with the first documents embedded by the new encoder."""
        done = round(share * len(mapped))
        mixed = np.concatenate([self.new.documents[:done], mapped[done:]])
        order = nearest(self.new.queries, mixed)
        true = nearest(self.new.queries, self.new.documents)[:, :NEAREST]
        both = zip(true, order[:, :NEAREST], strict=True)
        recall = np.mean([np.isin(each, found).mean() for each, found in both])
        return float(recall), self.ndcg(order)

    def ndcg(self, order: Int64) -> float:
        """Of int64[q, DEPTH] places of documents."""
        run = [
            ir_measures.ScoredDoc(query, self.doc_ids[n], -float(rank))
            for query, found in zip(self.query_ids, order, strict=True)
            for rank, n in enumerate(found)
        ]
        qrels = [
            ir_measures.Qrel(each.query_id, each.doc_id, each.relevance)
            for each in self.collection.judgements
        ]
        wanted = measure("nDCG@10")
        return float(ir_measures.calc_aggregate([wanted], qrels, run)[wanted])


def nearest(queries: Float32, documents: Float32) -> Int64:
    """int64[q, DEPTH]: by inner product."""
    order: Int64 = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :DEPTH]
    return order


def mapped_unseen(pairs: Pairs, learn: Callable[[Pairs], Mapper]) -> Float32:
    """Each old vector by a map that was learnt of other documents."""
    found = np.empty_like(pairs.new)
    fold = np.random.default_rng(SEED).permutation(len(found)) % FOLDS
    for n in range(FOLDS):
        seen, unseen = np.flatnonzero(fold != n), np.flatnonzero(fold == n)
        found[unseen] = learn(pairs.take(seen))(pairs.old[unseen])
    return found


def ways(unit: bool) -> Iterator[tuple[str, Callable[[Pairs], Mapper]]]:
    """What is compared, by name."""
    for way in WAYS:
        name = f"{way.kind} {way.ridge:g}" if way.ridge else way.kind
        yield name, lambda pairs, way=way: applied(fit_way(pairs, way, unit))  # type: ignore[misc]
    yield "what is chosen", lambda pairs: applied(fit_space(pairs, unit).map)
    yield "trained", lambda pairs: trained(pairs, unit)


def applied(found: Any) -> Mapper:
    """A map as a function."""
    return lambda old: through(found, old)


class Residual(torch.nn.Module):
    """An affine map, from least squares, and a hidden layer beside it that begins at 0."""

    def __init__(self, start: Any, unit: bool) -> None:
        super().__init__()
        self.unit = unit
        into, of = start.axes.shape
        self.mean = torch.from_numpy(start.mean)
        self.axes = torch.nn.Parameter(torch.from_numpy(start.axes.copy()))
        self.bias = torch.nn.Parameter(torch.from_numpy(start.bias.copy()))
        self.inner, self.outer = torch.nn.Linear(of, HIDDEN), torch.nn.Linear(HIDDEN, into)
        torch.nn.init.zeros_(self.outer.weight)
        torch.nn.init.zeros_(self.outer.bias)

    def forward(self, old: torch.Tensor) -> torch.Tensor:
        moved = old - self.mean
        found = moved @ self.axes.T + self.bias + self.outer(torch.relu(self.inner(moved)))
        return torch.nn.functional.normalize(found) if self.unit else found


def trained(pairs: Pairs, unit: bool) -> Mapper:
    """By gradient descent from the affine map of ridge 0.1; seeded."""
    torch.manual_seed(SEED)
    model = Residual(fit_way(pairs, WAYS[3], unit), unit)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    old, new = torch.from_numpy(pairs.old), torch.from_numpy(pairs.new)
    for _ in range(STEPS):
        rows = torch.randint(0, len(old), (BATCH,))
        optimiser.zero_grad()
        loss(model(old[rows]), new[rows]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    def run(vectors: Float32) -> Float32:
        with torch.no_grad():
            found: Float32 = model(torch.from_numpy(vectors)).numpy()
            return found

    return run


def loss(mapped: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """How far mapped vectors lie from the new ones, and their neighbours from the new ones'."""
    found, true = SHARPNESS * (mapped @ new.T), SHARPNESS * (new @ new.T)
    apart = torch.nn.functional.kl_div(found.log_softmax(1), true.softmax(1), reduction="batchmean")
    near: torch.Tensor = 5 * (1 - torch.nn.functional.cosine_similarity(mapped, new).mean())
    return apart + near


def embedded(model: str, texts: list[str], queries: list[str], max_tokens: int) -> Embedded:
    """By one encoder."""
    encoder = load_encoder(EncoderSettings(model=model, dtype="fp32"), "cpu")
    limit = min(max_tokens, encoder.card.max_tokens) - encoder.tokeniser.specials
    spans = encoder.tokeniser.encode([encoder.card.document_prompt + text for text in texts])
    documents = encoder.encode_ids([each.ids[:limit] for each in spans])
    return Embedded(documents, encoder.encode_queries(queries), encoder.card.normalise)


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--max-tokens", type=int, default=256)
    given = parser.parse_args()
    use_threads(1)
    rows = [row for row in json_lines(given.data / "corpus.jsonl") if row["text"].strip()]
    asked = list(json_lines(given.data / "queries.jsonl"))
    texts = [passage_text(row.get("title", ""), row["text"]) for row in rows]
    queries = [row["text"] for row in asked]
    old, new = (embedded(m, texts, queries, given.max_tokens) for m in (given.old, given.new))
    ids = [[row["_id"] for row in each] for each in (rows, asked)]
    bench = Bench(Collection(given.data, given.data), ids[0], ids[1], old, new)
    print(f"{len(texts)} documents, {len(queries)} queries; Recall@10 and nDCG@10 at {SHARES}")
    print(f"{'old alone: nDCG@10':>16} {bench.ndcg(nearest(old.queries, old.documents)):.3f}")
    pairs = Pairs(old.documents, new.documents)
    for name, learn in ways(new.unit):
        print(bench.line(name, mapped_unseen(pairs, learn)), flush=True)


if __name__ == "__main__":
    main()
