"""rerank, of columns: pairs are scored by the values that the index holds of passages, and those
that a column's encoder makes of queries. No text is read, and no model runs on passages.

As `rerank_pairs.py` it sweeps over the parts: a part's values are read once for all queries.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Float32
from shardrank.core.cards import RerankerCard
from shardrank.core.files import FileRef
from shardrank.core.finite import refuse_broken
from shardrank.core.progress import tell
from shardrank.core.reranker_settings import MaxsimSettings
from shardrank.core.units import Done, Stage, Unit
from shardrank.index.bm25 import Bm25
from shardrank.index.column_scores import ColumnRule, score_column
from shardrank.stages.rank.encode_further import Asking, encode_further
from shardrank.stages.rank.fewer_tokens import POOLED, fewer_tokens
from shardrank.stages.rank.rerank_pairs import write_scores
from shardrank.stages.rank.rerank_plan import (
    BlockPairs,
    Candidates,
    PlannedReranker,
    Scores,
    plan_part_runs,
    score_source,
)
from shardrank.stages.rank.wanted_pairs import distinct, positions, wanted_pairs
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_encoders import Sourced, read_codec

#: What may be the matter where no pair has a score.
_EMPTY = "A passage without tokens has no score."


@dataclass(frozen=True)
class PartValues:
    """A part, by its place in the version, and its values of the column that is read."""

    ordinal: int
    values: FileRef


@dataclass(frozen=True)
class ColumnsSpec:
    """A run of parts; the blocks that have pairs in them, whose queries are values of the column,
    and of which those up to the depth are scored; the fingerprint of the reranker's card, in which
    the rule that weights counts is too; and the column's codec."""

    parts: tuple[PartValues, ...]
    blocks: tuple[BlockPairs, ...]
    depth: int
    reranker: str
    codec: FileRef | None


COLUMNS = Stage("rerank", ColumnsSpec, Scores)


def rerank_columns(
    context: Context, candidates: Candidates, reranker: PlannedReranker, stage: str
) -> list[Done[Scores]]:
    """The candidates' scores, a unit a run of parts."""
    asked = _asked(context, candidates, reranker, stage)
    specs = _plan(candidates, reranker, asked)
    rule = reranker.counted.rule if reranker.counted else None
    work = partial(RerankColumns, context.workspace, candidates.index, reranker.card, rule)
    return run_stage(context, replace(COLUMNS, name=stage), specs, [Step(work)])


def _asked(
    context: Context, candidates: Candidates, reranker: PlannedReranker, stage: str
) -> Sequence[FileRef]:
    """The values of each block's queries in the column, or fewer of them."""
    assert reranker.asking is not None
    texts = [block.queries for block in candidates.blocks]
    counts = reranker.counted.counts if reranker.counted else None
    asking = Asking(Sourced(reranker.asking, None), counts, candidates.batch)
    whole = encode_further(context, candidates.index, texts, asking)
    if not isinstance(reranker.settings, MaxsimSettings):
        return whole
    fewer = replace(POOLED, name=f"{POOLED.name}_{stage}")
    return fewer_tokens(context, fewer, whole, reranker.settings.query_pool)


def _plan(
    candidates: Candidates, reranker: PlannedReranker, asked: Sequence[FileRef]
) -> list[ColumnsSpec]:
    assert reranker.asking is not None
    version, column = candidates.version, reranker.asking.name
    return [
        ColumnsSpec(
            parts=tuple(
                PartValues(part.ordinal, version.parts[part.ordinal].columns[column].file)
                for part in run.parts
            ),
            blocks=tuple(replace(block, queries=asked[block.block]) for block in run.blocks),
            depth=candidates.depth,
            reranker=reranker.card.fingerprint,
            codec=reranker.asking.codec,
        )
        for run in plan_part_runs(candidates)
    ]


class RerankColumns:
    """A run of parts → the scores of its pairs, a file a block."""

    def __init__(
        self, workspace: Workspace, index: Workspace, card: RerankerCard, rule: Bm25 | None
    ) -> None:
        self._workspace, self._index = workspace, index
        self._source, self._bm25 = score_source(card), rule

    def __call__(self, unit: Unit[ColumnsSpec], tables: Tables) -> Result[Scores]:
        spec = unit.spec
        order = [(name, "ascending") for name in ("part", "row", "block", "query")]
        parts = [part.ordinal for part in spec.parts]
        pairs = wanted_pairs(self._workspace, spec.blocks, parts, spec.depth).sort_by(order)
        scored = self._scored(spec, pairs) if pairs.num_rows else ()  # all may lie too deep
        scores = np.concatenate([np.empty(0, np.float32), *scored])
        broken = int((~np.isfinite(scores)).sum())
        refuse_broken(self._source, broken, len(scores), "pairs of a unit", hint=_EMPTY)
        table = pairs.select(["block", "query", "part", "row"])
        table = table.append_column("logit", pa.array(scores))
        cut = pa.array(np.zeros(len(scores), np.bool_))
        table = table.append_column("truncated", cut)
        return write_scores(self._workspace, unit, spec.blocks, table)

    def _scored(self, spec: ColumnsSpec, pairs: pa.Table) -> Iterator[Float32]:
        """Of the pairs of each part in turn."""
        queries = distinct(pairs, ["block", "query"])
        asked = self._queries(spec, queries)
        left = positions(pairs, queries, ["block", "query"])
        part, row = (pairs[name].to_numpy() for name in ("part", "row"))
        rule = ColumnRule(read_codec(self._index, spec.codec), self._bm25)
        for number, each in enumerate(spec.parts, 1):
            mine = part == each.ordinal
            values = self._index.read_table(each.values, ["vector"])["vector"]
            yield score_column(values, rule)(asked, left[mine], row[mine])
            tell(number / len(spec.parts))

    def _queries(self, spec: ColumnsSpec, wanted: pa.Table) -> pa.ChunkedArray:
        """The values of the queries that have pairs, in the order of blocks and queries."""
        found = []
        for block in spec.blocks:
            rows = wanted["query"].filter(pc.equal(wanted["block"], block.block))
            if len(rows):
                values = self._workspace.read_table(block.queries, ["vector"])["vector"]
                found.append(values.take(rows).combine_chunks())
        return pa.chunked_array([pa.concat_arrays(found)])
