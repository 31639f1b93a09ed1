"""An index over token vectors: exact, which has no file, or of shards that say which passages have
tokens of which centroids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Int64
from shardrank.core.files import FileRef
from shardrank.core.token_vectors import one_array, row_ends
from shardrank.core.units import Stage, Unit
from shardrank.kernels.residual_codes import ResidualCodec, token_bytes
from shardrank.stages.index.audit import Audited, audit, exact_audit
from shardrank.stages.index.wanted import WantedIndex, grouped
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import PartColumn, live_rows, offsets
from shardrank.version.indexes import Audit, Codec, Index, Shard
from shardrank.version.sizing import EXACT_SHARD_PASSAGES, CodecPlan, plan_shards


@dataclass(frozen=True)
class CentroidsSpec:
    """What a column's codes are of, and a shard's parts, whose ordinals count from 0."""

    codec: FileRef
    parts: tuple[PartColumn, ...]


@dataclass(frozen=True)
class CentroidShard:
    """A shard's file."""

    shard: FileRef


BUILD = Stage("build", CentroidsSpec, CentroidShard)


def token_index(context: Context, wanted: WantedIndex) -> Index:
    """Of the kind that the settings ask for."""
    return _plaid(context, wanted) if wanted.settings.kind == "plaid" else _exact(context, wanted)


def _exact(context: Context, wanted: WantedIndex) -> Index:
    rows = [part.rows for part in wanted.parts]
    groups = plan_shards(rows, max([EXACT_SHARD_PASSAGES, *rows]))
    plan = CodecPlan.without("maxsim", wanted.settings.seed)
    found = exact_audit("maxsim", context.settings.audit)
    return _index(context, wanted, plan, [Shard(tuple(each), None) for each in groups], found)


def _plaid(context: Context, wanted: WantedIndex) -> Index:
    """Over all parts; the base's shards stay unless they are folded."""
    codec = wanted.encoder.codec
    assert codec
    held = ResidualCodec.of(context.workspace.storage.read_checked(codec))
    plan = replace(CodecPlan.without("plaid", wanted.settings.seed), nlist=len(held.centroids))
    found = grouped(wanted)
    shards = [*found.kept, *_built(context, wanted, codec, found.groups)]
    made = audit(context, Audited(wanted, shards, plan))
    index = _index(context, wanted, plan, shards, made)
    return replace(index, codec=Codec(codec, wanted.passages, 0.0))


def _index(
    context: Context,
    wanted: WantedIndex,
    plan: CodecPlan,
    shards: Sequence[Shard],
    found: Audit,
) -> Index:
    return Index(
        column=wanted.column,
        plan=plan,
        settings=wanted.settings,
        codec=None,
        counts=None,
        shards=tuple(shards),
        audit=found,
        audit_settings=context.settings.audit,
    )


def _built(
    context: Context, wanted: WantedIndex, codec: FileRef, groups: Sequence[Sequence[int]]
) -> list[Shard]:
    """One shard of each group of parts."""
    specs = [CentroidsSpec(codec, _columns(wanted, group)) for group in groups]
    step = Step(partial(BuildCentroids, context.workspace))
    built = run_stage(context, BUILD.of(wanted.column), specs, [step])
    return [Shard(tuple(g), done.made.shard) for g, done in zip(groups, built, strict=True)]


def _columns(wanted: WantedIndex, group: Sequence[int]) -> tuple[PartColumn, ...]:
    parts = (PartColumn.of(n, wanted.parts[m], wanted.column) for n, m in enumerate(group))
    return tuple(parts)


@dataclass(frozen=True)
class BuildCentroids:
    """A shard's parts → which of their live passages have tokens of which centroids."""

    workspace: Workspace

    def __call__(self, unit: Unit[CentroidsSpec], tables: Tables) -> Result[CentroidShard]:
        from shardrank.index.plaid import build_plaid  # brings numba

        spec = unit.spec
        codec = ResidualCodec.of(self.workspace.storage.read_checked(spec.codec))
        rows = sum(part.rows for part in spec.parts)
        data = build_plaid(self._blocks(spec.parts, codec), rows, len(codec.centroids))
        ref = self.workspace.write_content("shards/{}.safetensors", data, rows)
        return Result(CentroidShard(ref), {"rows": rows})

    def _blocks(
        self, parts: Sequence[PartColumn], codec: ResidualCodec
    ) -> Iterator[tuple[Int64, Int64, Int64]]:
        """Shard positions of the live rows of each part, where their tokens begin, and the
        centroids of these."""
        for part, offset in zip(parts, offsets(parts), strict=True):
            rows = live_rows(self.workspace, part)
            column = one_array(self.workspace.read_table(part.values, ["vector"])["vector"])
            taken = one_array(column.take(pa.array(rows)))
            yield rows + np.int64(offset), row_ends(taken), codec.numbers(token_bytes(taken))
