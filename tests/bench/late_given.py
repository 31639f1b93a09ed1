"""What late retrieval is measured on: passages and queries of token vectors, drawn or real, and
which passages MaxSim puts first."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32, Int64
from shardrank.core.late_settings import LateSettings
from shardrank.core.token_vectors import TokenVectors
from shardrank.index.maxsim import StoredTokens, maxsim_scores
from shardrank.models.encoders.late import TokenColumn, load_late

K = 10
TOKENS, DIM, TOPICS, ASKED = 60, 96, 4096, 32
#: How far token vectors lie from their topics, and a query's from those of a passage.
SPREAD, BLUR = 0.6, 0.3


@dataclass(frozen=True)
class Given:
    """Passages and queries, and the K best passages int64[queries, K] of each query by MaxSim of
    the vectors as they are here."""

    name: str
    passages: TokenVectors
    queries: TokenVectors
    best: Int64

    @classmethod
    def of(cls, name: str, passages: TokenVectors, queries: TokenVectors) -> "Given":
        return cls(name, passages, queries, nearest(queries, passages))

    def missed(self, found: Int64) -> float:
        """The share of the K best that are not in int64[queries, K]."""
        both = zip(self.best.tolist(), found.tolist(), strict=True)
        return 1 - float(np.mean([len({*mine} & {*theirs}) / K for mine, theirs in both]))


def nearest(queries: TokenVectors, passages: TokenVectors) -> Int64:
    """int64[queries, K], by MaxSim of all."""
    held, every = StoredTokens(passages.ends, passages.vectors), np.arange(passages.rows)
    found = np.empty((queries.rows, K), np.int64)
    for number in range(queries.rows):
        scores = maxsim_scores(queries, held, np.full(passages.rows, number), every)
        found[number] = np.argsort(-scores, kind="stable")[:K]
    return found


def drawn(passages: int, queries: int) -> Given:
    """Token vectors around topics; a query's are near some of one passage's."""
    random = np.random.default_rng(0)
    topics = random.standard_normal((TOPICS, DIM), dtype=np.float32)
    held = topics[random.integers(0, TOPICS, passages * TOKENS)]
    held = _unit(held + SPREAD * random.standard_normal(held.shape, dtype=np.float32))
    of = random.integers(0, passages, queries)
    places = np.argsort(random.random((queries, TOKENS)))[:, :ASKED]
    asked = held[(of[:, None] * TOKENS + places).ravel()]
    asked = _unit(asked + BLUR * random.standard_normal(asked.shape, dtype=np.float32) / DIM**0.5)
    return Given.of(
        f"{passages:,} passages drawn",
        TokenVectors(np.arange(passages + 1) * TOKENS, held),
        TokenVectors(np.arange(queries + 1) * ASKED, asked),
    )


def _unit(vectors: Float32) -> Float32:
    found: Float32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def collected(source: Path, model: Path, folder: Path) -> Given:
    """Token vectors of a collection in BEIR's layout by a model of them, on which int8 is enough;
    kept in `folder`."""
    kept = folder / f"{source.name}-{model.name}.npz"
    if not kept.exists():
        column = TokenColumn(load_late(LateSettings(model=str(model), dtype="int8"), "cpu"), None)
        texts = (column.column(_texts(source / "corpus.jsonl", "title", "text")),)
        both = (*texts, column.queries(_texts(source / "queries.jsonl", "text")))
        folder.mkdir(parents=True, exist_ok=True)
        passages, queries = (TokenVectors.of(each) for each in both)
        np.savez(
            kept,
            ends=passages.ends,
            vectors=passages.vectors.astype(np.float16),
            asked_ends=queries.ends,
            asked=queries.vectors,
        )
    with np.load(kept) as held:
        passages = TokenVectors(held["ends"], held["vectors"].astype(np.float32))
        queries = TokenVectors(held["asked_ends"], held["asked"])
    return Given.of(f"{passages.rows:,} documents of {source.name}", passages, queries)


def _texts(path: Path, *fields: str) -> pa.Array:
    rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return pa.array([" ".join(row[field] for field in fields if row[field]) for row in rows])
