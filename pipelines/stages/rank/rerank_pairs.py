"""rerank: score (query, passage) pairs, sweeping over the parts, never over the queries.

Pairs are grouped by part, so that each passage is read and tokenised once, however many queries
retrieved it; a unit is a run of neighbouring parts with about `pairs_per_unit` pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int32
from shardrank.core.arrow_columns import token_lists
from shardrank.core.cards import RerankerCard
from shardrank.core.finite import refuse_broken
from shardrank.core.pools import TASK_CPUS
from shardrank.core.protocols import PairScores, Reranker, Tokeniser
from shardrank.core.reranker_settings import RerankerSettings
from shardrank.core.text import passage_text
from shardrank.core.units import Done, Unit
from shardrank.models.forward.threads import use_threads
from shardrank.stages.rank.rerank_plan import (
    RERANK,
    BlockPairs,
    BlockScores,
    Candidates,
    PlannedReranker,
    RerankSpec,
    Scores,
    plan_rerank,
    score_source,
)
from shardrank.stages.rank.wanted_pairs import distinct, passages_of_pairs, positions, wanted_pairs
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace


def rerank_pairs(
    context: Context, candidates: Candidates, reranker: PlannedReranker, stage: str
) -> list[Done[Scores]]:
    """The candidates' scores, a unit a run of parts."""
    settings, card = reranker.settings, reranker.card
    specs = plan_rerank(candidates, card)
    pool = context.model_pool(len(specs))
    steps = [
        Step(
            partial(ReadPairs, context.workspace, candidates.index, candidates.batch),
            cpus=TASK_CPUS,
        ),
        Step(partial(ScorePairs, settings, card, pool.device), pool),
        Step(partial(WriteScores, context.workspace), cpus=TASK_CPUS),
    ]
    return run_stage(context, replace(RERANK, name=stage), specs, steps)


@dataclass(frozen=True)
class ReadPairs:
    """A run of parts → its pairs, the queries in them, and each passage in them once."""

    workspace: Workspace
    index: Workspace
    batch: Workspace

    def __call__(self, unit: Unit[RerankSpec], tables: Tables) -> Tables:
        pairs = self._pairs(unit.spec)
        queries = self._queries(unit.spec, pairs)
        passages = self._passages(unit.spec, pairs)
        left = positions(pairs, queries, ["block", "query"])
        right = positions(pairs, passages, ["part", "row"])
        pairs = pairs.append_column("left", pa.array(left)).append_column("right", pa.array(right))
        return {"pairs": pairs, "queries": queries, "passages": passages}

    def _pairs(self, spec: RerankSpec) -> pa.Table:
        parts = [part.ordinal for part in spec.parts]
        found = wanted_pairs(self.workspace, spec.blocks, parts, spec.depth)
        order = [(name, "ascending") for name in ("part", "row", "block", "query")]
        return found.drop_columns("rank").sort_by(order)

    def _queries(self, spec: RerankSpec, pairs: pa.Table) -> pa.Table:
        wanted = distinct(pairs, ["block", "query"])
        texts = []
        for block in spec.blocks:
            rows = wanted["query"].filter(pc.equal(wanted["block"], block.block))
            if len(rows):
                asked = self.batch.read_table(block.queries, ["text"])["text"]
                texts.extend(asked.take(rows).chunks)
        return wanted.append_column("text", pa.chunked_array(texts, pa.string()))

    def _passages(self, spec: RerankSpec, pairs: pa.Table) -> pa.Table:
        columns = ["tokens"] if spec.stored_tokens else ["title", "text"]
        return passages_of_pairs(self.index, spec.parts, pairs, columns)


class ScorePairs:
    """Pairs → raw float32 logits, and whether a pair had to be cut."""

    def __init__(self, settings: RerankerSettings, card: RerankerCard, device: str) -> None:
        from shardrank.models.rerankers.registry import load_reranker

        self._source = score_source(card)
        use_threads(1)
        self._reranker = load_reranker(settings, device, card)

    def __call__(self, unit: Unit[RerankSpec], tables: Tables) -> Tables:
        pairs, tokeniser = tables["pairs"], self._reranker.tokeniser
        queries = [self._reranker.prompt + text for text in tables["queries"]["text"].to_pylist()]
        scores = scored_once(
            self._reranker,
            _tokens(tokeniser, queries),
            _passage_tokens(tokeniser, tables["passages"]),
            pairs["left"].to_numpy(),
            pairs["right"].to_numpy(),
        )
        broken = int((~np.isfinite(scores.logits)).sum())
        refuse_broken(self._source, broken, pairs.num_rows, "pairs of a unit")
        kept = pairs.select(["block", "query", "part", "row"])
        kept = kept.append_column("logit", pa.array(scores.logits))
        return {"scores": kept.append_column("truncated", pa.array(scores.truncated))}


def scored_once(
    reranker: Reranker,
    queries: Sequence[Int32],
    passages: Sequence[Int32],
    left: Int32,
    right: Int32,
) -> PairScores:
    """As `Reranker.score`, where pairs of equal tokens are scored once: stores hold copies of
    documents, and logs ask again."""
    first, second = _firsts(queries)[left], _firsts(passages)[right]
    both = (first.astype(np.int64) << 32) | second
    _, kept, at = np.unique(both, return_index=True, return_inverse=True)
    if len(kept) == len(both):
        return reranker.score(queries, passages, left, right)
    found = reranker.score(queries, passages, first[kept], second[kept])
    return PairScores(found.logits[at], found.truncated[at])


def _firsts(rows: Sequence[Int32]) -> Int32:
    """int32[n]: of each row the first one that equals it."""
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(row.tobytes(), n) for n, row in enumerate(rows)], np.int32)


@dataclass(frozen=True)
class WriteScores:
    """Scores → a file a block. A logit that is not finite is counted, and its pair stays
    unreranked."""

    workspace: Workspace

    def __call__(self, unit: Unit[RerankSpec], tables: Tables) -> Result[Scores]:
        return write_scores(self.workspace, unit, unit.spec.blocks, tables["scores"])


def write_scores(
    workspace: Workspace, unit: Unit[Any], blocks: Sequence[BlockPairs], scores: pa.Table
) -> Result[Scores]:
    """A unit's scores (block, query, part, row, logit, truncated) → a file a block, and counts."""

    def written(block: int) -> BlockScores:
        mine = scores.filter(pc.equal(scores["block"], block)).drop_columns("block")
        name = f"scores-{block:05d}.parquet"
        return BlockScores(block, workspace.write_scratch(unit, name, mine))

    made = Scores(tuple(written(each.block) for each in blocks))
    truncated = int(pc.sum(scores["truncated"]).as_py() or 0)
    bad = int(pc.sum(pc.invert(pc.is_finite(scores["logit"]))).as_py() or 0)
    return Result(made, {"rows": scores.num_rows, "truncated": truncated, "not_finite": bad})


def _tokens(tokeniser: Tokeniser, texts: list[str]) -> list[Int32]:
    return [spans.ids for spans in tokeniser.encode(texts)]


def _passage_tokens(tokeniser: Tokeniser, passages: pa.Table) -> list[Int32]:
    if "tokens" in passages.column_names:
        return token_lists(passages["tokens"])
    titles, texts = passages["title"].to_pylist(), passages["text"].to_pylist()
    joined = [passage_text(title, text) for title, text in zip(titles, texts, strict=True)]
    return _tokens(tokeniser, joined)
