"""texts: what a list reranker reads of its candidates, by one sweep over the parts, written by
neighbouring queries; no part is read once a query."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.files import FileRef
from shardrank.core.text import passage_text
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.rank.rerank_plan import BlockPairs, Candidates, PartTexts, plan_part_runs
from shardrank.stages.rank.wanted_pairs import passages_of_pairs, positions, wanted_pairs
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.pairs_by_part import count_pairs
from shardrank.version.sizing import pairs_per_list_unit


@dataclass(frozen=True)
class TextsSpec:
    """A run of parts; the blocks that have pairs in them, of which those up to the depth are read;
    how many queries of a block share a file."""

    parts: tuple[PartTexts, ...]
    blocks: tuple[BlockPairs, ...]
    depth: int
    queries: int


@dataclass(frozen=True)
class ListTexts:
    """Of a block's queries from `first` on: query, part, row, rank and text of each pair."""

    block: int
    first: int
    texts: FileRef


@dataclass(frozen=True)
class Texts:
    """A file for each few queries that have pairs here."""

    lists: tuple[ListTexts, ...]


TEXTS = Stage("texts", TextsSpec, Texts)


def list_texts(context: Context, candidates: Candidates, stage: str) -> list[ListTexts]:
    """The texts of all candidates, in the order of blocks and their queries."""
    queries = _queries_together(candidates)
    specs = [
        TextsSpec(run.parts, run.blocks, candidates.depth, queries)
        for run in plan_part_runs(candidates)
    ]
    work = partial(GatherTexts, context.workspace, candidates.index)
    dones = run_stage(context, replace(TEXTS, name=stage), specs, [Step(work)])
    return sorted(_all(dones), key=lambda each: (each.block, each.first))


def _all(dones: Sequence[Done[Texts]]) -> Iterator[ListTexts]:
    return (each for done in dones for each in done.made.lists)


def _queries_together(candidates: Candidates) -> int:
    """Queries whose lists are one unit's."""
    pairs = count_pairs(block.pairs for block in candidates.blocks).total()
    queries = max(1, sum(block.queries.rows for block in candidates.blocks))
    each = max(1.0, min(candidates.depth, pairs / queries))
    return max(1, round(pairs_per_list_unit(round(each * queries)) / each))


@dataclass(frozen=True)
class GatherTexts:
    """A run of parts → the texts of its pairs, a file for each few queries."""

    workspace: Workspace
    index: Workspace

    def __call__(self, unit: Unit[TextsSpec], tables: Tables) -> Result[Texts]:
        spec = unit.spec
        parts = [part.ordinal for part in spec.parts]
        pairs = wanted_pairs(self.workspace, spec.blocks, parts, spec.depth)
        passages = passages_of_pairs(self.index, spec.parts, pairs, ["title", "text"])
        both = zip(passages["title"].to_pylist(), passages["text"].to_pylist(), strict=True)
        texts = pa.array([passage_text(title, text) for title, text in both], pa.string())
        at = positions(pairs, passages, ["part", "row"])
        pairs = pairs.append_column("text", texts.take(pa.array(at)))
        lists = [each for block in spec.blocks for each in self._written(unit, pairs, block.block)]
        return Result(Texts(tuple(lists)), {"rows": pairs.num_rows})

    def _written(self, unit: Unit[TextsSpec], pairs: pa.Table, block: int) -> list[ListTexts]:
        """The pairs of a block."""
        mine = pairs.filter(pc.equal(pairs["block"], block)).drop_columns("block")
        firsts = mine["query"].to_numpy() // unit.spec.queries * unit.spec.queries
        found = []
        for first in np.unique(firsts).tolist():
            table = mine.filter(pa.array(firsts == first))
            name = f"texts-{block:05d}-{first:06d}.parquet"
            ref = self.workspace.write_scratch(unit, name, table)
            found.append(ListTexts(block, first, ref))
        return found
