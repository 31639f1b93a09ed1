"""An inverted index over sparse vectors: exact, and without a codec.

build-NAME writes the postings of a shard. Where words are weighted by how rare they are, count-NAME
counts in how many live passages of each shard every word is, and total-NAME adds that up, so that
what BM25 knows of a version is exact after any night.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Int64, UInt64
from shardrank.core.files import FileRef
from shardrank.core.sparse import SparseRows
from shardrank.core.units import Stage, Unit
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.index.bm25 import add_counts, count_terms
from shardrank.stages.index.audit import exact_audit
from shardrank.stages.index.wanted import WantedIndex, grouped
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import PartColumn, live_rows, offsets
from shardrank.version.indexes import Index, Shard, TermCounts
from shardrank.version.sizing import CodecPlan


@dataclass(frozen=True)
class PostingsSpec:
    """A shard's parts; their ordinals count from 0."""

    parts: tuple[PartColumn, ...]


@dataclass(frozen=True)
class Postings:
    """A shard's file."""

    shard: FileRef


@dataclass(frozen=True)
class TotalSpec:
    """Counts of some shards."""

    counts: tuple[TermCounts, ...]


BUILD = Stage("build", PostingsSpec, Postings)
COUNT = Stage("count", PostingsSpec, TermCounts)
TOTAL = Stage("total", TotalSpec, TermCounts)


def inverted_index(context: Context, wanted: WantedIndex, counted: bool) -> Index:
    """Over all parts; the base's shards stay unless they are folded. Its words are `counted` where
    they are weighted by how rare they are."""
    found = grouped(wanted)
    specs = [_spec(wanted, group) for group in found.groups]
    step = Step(partial(BuildPostings, context.workspace))
    built = run_stage(context, BUILD.of(wanted.column), specs, [step])
    new = [Shard(tuple(g), d.made.shard) for g, d in zip(found.groups, built, strict=True)]
    shards = [*found.kept, *new]
    audit = context.settings.audit
    return Index(
        column=wanted.column,
        plan=CodecPlan.without("inverted", wanted.settings.seed),
        settings=wanted.settings,
        codec=None,
        counts=_counts(context, wanted, shards) if counted else None,
        shards=tuple(shards),
        audit=exact_audit("inverted", audit),
        audit_settings=audit,
    )


def _spec(wanted: WantedIndex, group: Sequence[int]) -> PostingsSpec:
    parts = (PartColumn.of(n, wanted.parts[m], wanted.column) for n, m in enumerate(group))
    return PostingsSpec(tuple(parts))


def _counts(context: Context, wanted: WantedIndex, shards: Sequence[Shard]) -> TermCounts:
    """Over all live passages."""
    specs = [_spec(wanted, shard.parts) for shard in shards]
    count = Step(partial(Count, context.workspace))
    counted = run_stage(context, COUNT.of(wanted.column), specs, [count])
    total = TotalSpec(tuple(done.made for done in counted))
    add = Step(partial(Total, context.workspace))
    [done] = run_stage(context, TOTAL.of(wanted.column), [total], [add])
    return done.made


@dataclass(frozen=True)
class BuildPostings:
    """A shard's parts → its postings."""

    workspace: Workspace

    def __call__(self, unit: Unit[PostingsSpec], tables: Tables) -> Result[Postings]:
        from shardrank.index.inverted import build_inverted  # brings numba

        parts = unit.spec.parts
        rows = sum(part.rows for part in parts)
        data = build_inverted(self._blocks(parts), rows)
        ref = self.workspace.write_content("shards/{}.safetensors", data, rows)
        return Result(Postings(ref), {"rows": rows})

    def _blocks(self, parts: Sequence[PartColumn]) -> Iterator[tuple[Int64, SparseRows]]:
        """Shard positions of the live rows of each part, and their vectors."""
        for part, offset in zip(parts, offsets(parts), strict=True):
            rows = live_rows(self.workspace, part)
            yield rows + offset, _vectors(self.workspace, part).taken(rows)


@dataclass(frozen=True)
class Count:
    """A shard's parts → in how many of their live passages each word is."""

    workspace: Workspace

    def __call__(self, unit: Unit[PostingsSpec], tables: Tables) -> Result[TermCounts]:
        counts, passages, words = [], 0, 0
        for part in unit.spec.parts:
            rows = live_rows(self.workspace, part)
            live = _vectors(self.workspace, part).taken(rows)
            counts.append(count_terms(live))
            passages, words = passages + len(rows), words + int(live.weights.sum(dtype=np.float64))
        terms, held = add_counts(counts)
        table = pa.table({"term": terms, "passages": held})
        ref = self.workspace.write_scratch(unit, "terms.parquet", table)
        return Result(TermCounts(passages, words, ref), {"rows": passages})


@dataclass(frozen=True)
class Total:
    """Counts → their sums."""

    workspace: Workspace

    def __call__(self, unit: Unit[TotalSpec], tables: Tables) -> Result[TermCounts]:
        counts = unit.spec.counts
        # One shard's after another, so that memory grows with the words and not with the shards.
        terms, held = reduce(lambda one, more: add_counts([one, more]), map(self._read, counts))
        data = encode_table(pa.table({"term": terms, "passages": held}))
        ref = self.workspace.write_content("terms/{}.parquet", data, len(terms))
        passages = sum(each.passages for each in counts)
        total = TermCounts(passages, sum(each.words for each in counts), ref)
        return Result(total, {"rows": passages, "terms": len(terms)})

    def _read(self, counts: TermCounts) -> tuple[UInt64, Int64]:
        table = self.workspace.read_table(counts.terms)
        return table["term"].to_numpy(), table["passages"].to_numpy()


def _vectors(workspace: Workspace, part: PartColumn) -> SparseRows:
    return SparseRows.of(workspace.read_table(part.values)["vector"])
