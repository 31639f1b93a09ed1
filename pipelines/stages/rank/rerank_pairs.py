"""rerank: score (query, passage) pairs, sweeping over the parts, never over the queries.

Pairs are grouped by part, so that each passage is read and tokenised once, however many queries
retrieved it; a unit is a run of neighbouring parts with about `pairs_per_unit` pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int32, Int64
from shardrank.core.arrow_columns import token_lists
from shardrank.core.cards import RerankerCard
from shardrank.core.errors import InputError
from shardrank.core.finite import Source, refuse_broken
from shardrank.core.model_settings import RerankerSettings
from shardrank.core.pools import TASK_CPUS
from shardrank.core.protocols import Tokeniser
from shardrank.core.text import passage_text
from shardrank.core.units import Done, Unit, total
from shardrank.models.forward.threads import use_threads
from shardrank.stages.rank.rerank_plan import (
    RERANK,
    BlockScores,
    Candidates,
    PlannedReranker,
    RerankSpec,
    ScoredBefore,
    Scores,
    plan_rerank,
)
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace


def rerank(
    context: Context,
    candidates: Candidates,
    reranker: PlannedReranker,
    stage: str = RERANK.name,
) -> list[Done[Scores]]:
    """The candidates' scores, a unit a run of parts; of more than are wanted, where the same were
    scored deeper before."""
    settings, card = reranker.settings, reranker.card
    held = ScoredBefore.of(context.workspace, candidates, card)
    wanted = replace(candidates, depth=held.depth(candidates.depth))
    specs = plan_rerank(wanted, card)
    pool = context.model_pool(len(specs))
    steps = [
        Step(
            partial(ReadPairs, context.workspace, candidates.index, candidates.batch),
            cpus=TASK_CPUS,
        ),
        Step(partial(ScorePairs, settings, card, pool.device), pool),
        Step(partial(WriteScores, context.workspace), cpus=TASK_CPUS),
    ]
    dones = run_stage(context, replace(RERANK, name=stage), specs, steps)
    held.keep(wanted.depth)
    return dones


def require_scores(
    context: Context,
    card: RerankerCard,
    scored: Sequence[Done[Scores]],
    stage: str = RERANK.name,
) -> None:
    """Raise InputError where not one pair of all units has a finite score.

    Their markers go: with the model mended the same command scores them again.
    """
    broken, of = total(scored, "not_finite"), total(scored, "rows")
    try:
        refuse_broken(_source(card), broken, of, "pairs", least=1)
    except InputError:
        context.workspace.forget(stage, scored)
        raise


def _source(card: RerankerCard) -> Source:
    return Source("reranker", card.name, card.dtype, "score")


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
        left = _positions(pairs, queries, ["block", "query"])
        right = _positions(pairs, passages, ["part", "row"])
        pairs = pairs.append_column("left", pa.array(left)).append_column("right", pa.array(right))
        return {"pairs": pairs, "queries": queries, "passages": passages}

    def _pairs(self, spec: RerankSpec) -> pa.Table:
        parts = pa.array([part.ordinal for part in spec.parts], pa.int32())
        found = []
        files = [(block.block, ref) for block in spec.blocks for ref in block.pairs]
        for number, ref in files:
            pairs = self.workspace.read_table(ref, ["query", "part", "row", "rank"])
            near = pc.less_equal(pairs["rank"], spec.depth)
            mine = pairs.filter(pc.and_(near, pc.is_in(pairs["part"], value_set=parts)))
            ordinal = pa.array(np.full(mine.num_rows, number, dtype=np.int32))
            found.append(mine.select(["query", "part", "row"]).append_column("block", ordinal))
        order = [(name, "ascending") for name in ("part", "row", "block", "query")]
        return pa.concat_tables(found).sort_by(order)

    def _queries(self, spec: RerankSpec, pairs: pa.Table) -> pa.Table:
        wanted = _distinct(pairs, ["block", "query"])
        texts = []
        for block in spec.blocks:
            rows = wanted["query"].filter(pc.equal(wanted["block"], block.block))
            if len(rows):
                asked = self.batch.read_table(block.queries, ["text"])["text"]
                texts.extend(asked.take(rows).chunks)
        return wanted.append_column("text", pa.chunked_array(texts, pa.string()))

    def _passages(self, spec: RerankSpec, pairs: pa.Table) -> pa.Table:
        wanted = _distinct(pairs, ["part", "row"])
        columns = ["tokens"] if spec.stored_tokens else ["title", "text"]
        pieces = []
        for part in spec.parts:
            rows = wanted.filter(pc.equal(wanted["part"], part.ordinal))
            table = self.index.read_table(part.passages, columns).take(rows["row"])
            for name in columns:
                rows = rows.append_column(name, table[name])
            pieces.append(rows)
        return pa.concat_tables(pieces)


class ScorePairs:
    """Pairs → raw float32 logits, and whether a pair had to be cut."""

    def __init__(self, settings: RerankerSettings, card: RerankerCard, device: str) -> None:
        from shardrank.models.rerankers.cross import load_reranker  # brings torch: a second

        self._source = _source(card)
        use_threads(1)
        self._reranker = load_reranker(settings, device, card)

    def __call__(self, unit: Unit[RerankSpec], tables: Tables) -> Tables:
        pairs, tokeniser = tables["pairs"], self._reranker.tokeniser
        queries = [self._reranker.prompt + text for text in tables["queries"]["text"].to_pylist()]
        scores = self._reranker.score(
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


@dataclass(frozen=True)
class WriteScores:
    """Scores → a file a block. A logit that is not finite is counted, and its pair stays
    unreranked."""

    workspace: Workspace

    def __call__(self, unit: Unit[RerankSpec], tables: Tables) -> Result[Scores]:
        scores = tables["scores"]
        made = Scores(tuple(self._of(unit, scores, block.block) for block in unit.spec.blocks))
        truncated = int(pc.sum(scores["truncated"]).as_py() or 0)
        bad = int(pc.sum(pc.invert(pc.is_finite(scores["logit"]))).as_py() or 0)
        counts = {"rows": scores.num_rows, "truncated": truncated, "not_finite": bad}
        return Result(made, counts)

    def _of(self, unit: Unit[RerankSpec], scores: pa.Table, block: int) -> BlockScores:
        mine = scores.filter(pc.equal(scores["block"], block)).drop_columns("block")
        name = f"scores-{block:05d}.parquet"
        return BlockScores(block, self.workspace.write_scratch(unit, name, mine))


def _distinct(table: pa.Table, columns: list[str]) -> pa.Table:
    found = table.select(columns).group_by(columns).aggregate([])
    return found.sort_by([(name, "ascending") for name in columns])


def _positions(table: pa.Table, among: pa.Table, columns: list[str]) -> Int32:
    """int32[n]: where each row's key stands in `among`, which is sorted by it."""
    keys = _joint(among, columns)
    return np.searchsorted(keys, _joint(table, columns)).astype(np.int32)


def _joint(table: pa.Table, columns: list[str]) -> Int64:
    """int64[n]: two int32 columns as one number that sorts as they do."""
    high, low = (table[name].to_numpy().astype(np.int64) for name in columns)
    joint: Int64 = (high << 32) | low
    return joint


def _tokens(tokeniser: Tokeniser, texts: list[str]) -> list[Int32]:
    return [spans.ids for spans in tokeniser.encode(texts)]


def _passage_tokens(tokeniser: Tokeniser, passages: pa.Table) -> list[Int32]:
    if "tokens" in passages.column_names:
        return token_lists(passages["tokens"])
    titles, texts = passages["title"].to_pylist(), passages["text"].to_pylist()
    joined = [passage_text(title, text) for title, text in zip(titles, texts, strict=True)]
    return _tokens(tokeniser, joined)
