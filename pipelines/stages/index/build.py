"""train and build: one codec for the version, then one shard a unit, all with that codec."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from shardrank.core.arrays import Float32, Int64
from shardrank.core.arrow_columns import matrix
from shardrank.core.units import FileRef, Unit
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.sweep import Step, Tables
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import load_blocks, offsets, part_spec, searchable
from shardrank.stages.shared.sample import Draw, read_sample, sample
from shardrank.version.manifest import Codec, Part, Shard
from shardrank.version.sizing import CodecPlan

#: Vectors on which the codec's error is measured, about.
ERROR_ROWS = 4096


def train(context: Context, parts: Sequence[Part], plan: CodecPlan) -> Codec | None:
    """The trained, empty codec; None where the plan is exact search, which needs none."""
    if plan.kind == "exact":
        return None
    refs = sample(context, parts, Draw("sample", plan.train_rows, plan.seed))
    unit = Unit("train", {"sample": [ref.json() for ref in refs], "plan": asdict(plan)})
    make = partial(Train, context.workspace, context.resources.threads)
    [done] = run_stage(context, "train", [unit], [Step(make)])
    passages = sum(part.live.passages for part in parts)
    return Codec(done.outputs["codec"], passages, done.facts["error"])


def build(
    context: Context, parts: Sequence[Part], groups: Sequence[Sequence[int]], codec: Codec
) -> list[Shard]:
    """One shard of each group of parts, with the shared codec."""
    units = plan_build(parts, groups, codec.file)
    make = partial(Build, context.workspace, context.settings.index.device)
    dones = run_stage(context, "build", units, [Step(make)])
    return [
        Shard(tuple(group), done.outputs["shard"], done.facts["error"])
        for group, done in zip(groups, dones, strict=True)
    ]


def plan_build(
    parts: Sequence[Part], groups: Sequence[Sequence[int]], codec: FileRef
) -> list[Unit]:
    """One unit a shard; it is named from the codec and the parts, wherever they stand."""
    specs = [[part_spec(n, parts[member]) for n, member in enumerate(group)] for group in groups]
    return [Unit("build", {"codec": codec.json(), "parts": spec}) for spec in specs]


@dataclass(frozen=True)
class Train:
    """The sample → the codec, on as many threads as the largest node has cores: meanwhile the flow
    has no other work.

    The number of threads changes no bit of it.
    """

    workspace: Workspace
    threads: int

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        from shardrank.index.codec import code_error, train_codec  # brings faiss
        from shardrank.index.shard import use_threads

        use_threads(self.threads)
        refs = [FileRef.parse(ref) for ref in unit.spec["sample"]]
        vectors = matrix(read_sample(self.workspace, refs)["vector"])
        codec = train_codec(vectors, CodecPlan(**unit.spec["plan"]))
        ref = self.workspace.write_content("codecs/{}.faiss", codec, rows=0)
        error = code_error(codec, vectors[:: _step(len(vectors))])
        return Result({"codec": ref}, {"rows": len(vectors)}, {"error": error})


@dataclass(frozen=True)
class Build:
    """A shard's parts → its index file, and how well the codec fits their vectors."""

    workspace: Workspace
    device: str

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        from shardrank.index.codec import code_error  # brings faiss and numba
        from shardrank.index.shard import build_shard, use_threads

        use_threads(1)
        codec = self.workspace.storage.read_checked(FileRef.parse(unit.spec["codec"]))
        parts = unit.spec["parts"]
        starts = offsets(parts)
        blocks = load_blocks(self.workspace, parts)
        rows = sum(part["passages"]["rows"] for part in parts)
        seen: list[Float32] = []
        vectors = (searchable(*pair) for pair in zip(blocks, starts, strict=True))
        data = build_shard(codec, _watched(vectors, _step(rows), seen), self.device)
        ref = self.workspace.write_content("shards/{}.faiss", data, rows)
        error = code_error(codec, np.concatenate(seen))
        return Result({"shard": ref}, {"rows": rows}, {"error": error})


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
