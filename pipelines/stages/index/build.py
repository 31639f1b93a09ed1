"""train and build: one codec for the version, then one shard a unit, all with that codec."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from shardrank.core.arrays import Float32, Int64
from shardrank.core.arrow_columns import matrix
from shardrank.core.files import FileRef
from shardrank.core.units import Stage, Unit
from shardrank.stages.index.wanted import WantedIndex
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import PartColumn, load_searchable, offsets
from shardrank.stages.shared.sample import Draw, read_sample, sample
from shardrank.version.indexes import Codec, Shard
from shardrank.version.parts import Part
from shardrank.version.sizing import CodecPlan

#: Vectors on which the codec's error is measured, about.
ERROR_ROWS = 4096


@dataclass(frozen=True)
class TrainSpec:
    """The files of a sample, and what is trained on it."""

    sample: tuple[FileRef, ...]
    plan: CodecPlan


@dataclass(frozen=True)
class Trained:
    """The codec, and the share of the sample's energy that its codes lose."""

    codec: FileRef
    error: float


@dataclass(frozen=True)
class BuildSpec:
    """The codec and a shard's parts; their ordinals count from 0, so that a shard is named from
    what is in it, wherever its parts stand."""

    codec: FileRef
    parts: tuple[PartColumn, ...]


@dataclass(frozen=True)
class Built:
    """A shard's file, and the share of its vectors' energy that their codes lose."""

    shard: FileRef
    error: float


TRAIN = Stage("train", TrainSpec, Trained)
BUILD = Stage("build", BuildSpec, Built)


def train(context: Context, parts: Sequence[Part], column: str, plan: CodecPlan) -> Codec | None:
    """The trained, empty codec; None where the plan is exact search, which needs none."""
    if plan.kind == "exact":
        return None
    refs = sample(context, parts, Draw("sample", column, plan.train_rows, plan.seed))
    make = partial(Train, context.workspace, context.resources.threads)
    [done] = run_stage(context, TRAIN.of(column), [TrainSpec(tuple(refs), plan)], [Step(make)])
    passages = sum(part.live.passages for part in parts)
    return Codec(done.made.codec, passages, done.made.error)


def build(
    context: Context, wanted: WantedIndex, groups: Sequence[Sequence[int]], codec: Codec
) -> list[Shard]:
    """One shard of each group of parts, with the shared codec."""
    specs = plan_build(wanted.parts, wanted.column, groups, codec.file)
    make = partial(Build, context.workspace)
    dones = run_stage(context, BUILD.of(wanted.column), specs, [Step(make)])
    return [
        Shard(tuple(group), done.made.shard, done.made.error)
        for group, done in zip(groups, dones, strict=True)
    ]


def plan_build(
    parts: Sequence[Part], column: str, groups: Sequence[Sequence[int]], codec: FileRef
) -> list[BuildSpec]:
    """Of each group of parts."""
    return [
        BuildSpec(codec, tuple(PartColumn.of(n, parts[m], column) for n, m in enumerate(group)))
        for group in groups
    ]


@dataclass(frozen=True)
class Train:
    """The sample → the codec, on as many threads as the largest node has cores: meanwhile the flow
    has no other work.

    The number of threads changes no bit of it.
    """

    workspace: Workspace
    threads: int

    def __call__(self, unit: Unit[TrainSpec], tables: Tables) -> Result[Trained]:
        from shardrank.index.codec import code_error, train_codec  # brings faiss
        from shardrank.index.shard import use_threads

        use_threads(self.threads)
        vectors = matrix(read_sample(self.workspace, unit.spec.sample)["vector"])
        codec = train_codec(vectors, unit.spec.plan)
        ref = self.workspace.write_content("codecs/{}.faiss", codec, rows=0)
        error = code_error(codec, vectors[:: _step(len(vectors))])
        return Result(Trained(ref, error), {"rows": len(vectors)})


@dataclass(frozen=True)
class Build:
    """A shard's parts → its index file, and how well the codec fits their vectors."""

    workspace: Workspace

    def __call__(self, unit: Unit[BuildSpec], tables: Tables) -> Result[Built]:
        from shardrank.index.codec import code_error  # brings faiss and numba
        from shardrank.index.shard import build_shard, use_threads

        use_threads(1)
        codec = self.workspace.storage.read_checked(unit.spec.codec)
        parts = unit.spec.parts
        starts = offsets(parts)
        rows = sum(part.rows for part in parts)
        seen: list[Float32] = []
        pairs = zip(parts, starts, strict=True)
        vectors = (load_searchable(self.workspace, *pair) for pair in pairs)
        data = build_shard(codec, _watched(vectors, _step(rows), seen))
        ref = self.workspace.write_content("shards/{}.faiss", data, rows)
        error = code_error(codec, np.concatenate(seen))
        return Result(Built(ref, error), {"rows": rows})


def _step(rows: int) -> int:
    """Every so manieth row makes about ERROR_ROWS of them."""
    return max(1, rows // ERROR_ROWS)


def _watched(
    blocks: Iterable[tuple[Int64, Float32]], step: int, seen: list[Float32]
) -> Iterator[tuple[Int64, Float32]]:
    """The blocks as they are; every `step`-th vector is put into `seen` on the way."""
    for positions, vectors in blocks:
        seen.append(vectors[::step])
        yield positions, vectors
