"""How much of a cross-encoder's own best ten its estimates from anchors find, beside a bi-encoder.

python -m tests.bench.anchor_recall DATA/cranfield MODEL [--queries 52] [--passages 200]
    [--max-tokens 64]

Each query is asked in turn, with all others as anchor queries; the anchor passages are drawn from
the passages, three times.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shardrank.core.arrays import Float32
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.core.text import passage_text
from shardrank.models.encoders.anchors import all_scores
from shardrank.models.encoders.cur import cross_factor
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.rerankers.cross import load_reranker

BEST, DEPTHS, SEED, DRAWS = 10, (10, 30, 50, 100), 0, 3
#: Anchor passages, for each anchor query.
SHARES = (0.5, 1.0, 2.0)


def main() -> None:
    """Print recall at each depth."""
    given = _arguments()
    rng = np.random.default_rng(SEED)
    passages = _drawn(rng, _texts(given.data / "corpus.jsonl"), given.passages)
    queries = _drawn(rng, _texts(given.data / "queries.jsonl"), given.queries)
    settings = CrossSettings(model=given.model, dtype="int8", max_tokens=given.max_tokens)
    scores = all_scores(load_reranker(settings, "cpu"), queries, passages)
    print("recall of the best", BEST, "within", DEPTHS)
    print("dense", recalls(_dense(queries, passages), scores))
    for share in SHARES:
        count = round(share * (len(queries) - 1))
        draws = [rng.permutation(len(passages))[:count] for _ in range(DRAWS)]
        found = [recalls(_estimates(scores, drawn.tolist()), scores) for drawn in draws]
        print(f"{len(queries) - 1} anchor queries, {count} passages", np.mean(found, 0).round(3))


def recalls(found: Float32, scores: Float32) -> Float32:
    """Of float32[q, p] each: the share of each query's best that is found, at each depth."""
    best = np.argsort(-scores, axis=1)[:, :BEST]
    places = np.argsort(np.argsort(-found, axis=1), axis=1)
    ranks = np.take_along_axis(places, best, axis=1)
    return np.array([(ranks < depth).mean() for depth in DEPTHS], np.float32).round(3)


def _estimates(scores: Float32, drawn: list[int]) -> Float32:
    rows = []
    for query in range(len(scores)):
        others = np.delete(scores, query, axis=0)
        rows.append(scores[query, drawn] @ cross_factor(others[:, drawn]) @ others)
    return np.stack(rows)


def _dense(queries: list[str], passages: list[str]) -> Float32:
    encoder = load_encoder(EncoderSettings(dtype="fp32"), "cpu")
    ids = [spans.ids for spans in encoder.tokeniser.encode(passages)]
    return encoder.encode_queries(queries) @ encoder.encode_ids(ids).T


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Its rows."""
    yield from map(json.loads, path.read_text("utf-8").splitlines())


def _texts(path: Path) -> list[str]:
    rows = json_lines(path)
    found = (passage_text(row.get("title", ""), row["text"]) for row in rows)
    return list(dict.fromkeys(text for text in found if text.strip()))


def _drawn(rng: np.random.Generator, texts: list[str], count: int) -> list[str]:
    return [texts[n] for n in rng.permutation(len(texts))[:count]]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--queries", type=int, default=52)
    parser.add_argument("--passages", type=int, default=200)
    parser.add_argument("--max-tokens", type=int, default=64)
    return parser.parse_args()


if __name__ == "__main__":
    main()
