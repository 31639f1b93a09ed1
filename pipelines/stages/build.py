"""train and build: one codec for the version, then one shard a unit, all with that codec."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

from pipelines.core.columns import matrix
from pipelines.core.sizing import IndexPlan, plan_shards
from pipelines.core.units import FileRef, Unit
from pipelines.core.version import Part, Shard
from pipelines.index.codec import train_codec
from pipelines.index.shard import build_shard, use_threads
from pipelines.stages.blocks import load_blocks, offsets, part_spec, searchable
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sample import Draw, read_sample, sample
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace

#: Passages of a shard that has no file: small, so that exact search spreads over the workers.
EXACT_SHARD_PASSAGES = 16_384


def train(context: Context, parts: Sequence[Part], plan: IndexPlan) -> FileRef | None:
    """The trained, empty codec; None where the plan is exact search, which needs none."""
    if plan.kind == "exact":
        return None
    refs = sample(context, parts, Draw("sample", plan.train_rows, plan.seed))
    unit = Unit("train", {"sample": [ref.json() for ref in refs], "plan": asdict(plan)})
    [done] = run_stage(context, "train", [unit], [Step(partial(Train, context.workspace))])
    return done.outputs["codec"]


def build(context: Context, parts: Sequence[Part], codec: FileRef | None) -> list[Shard]:
    """The version's shards, in the order of its parts."""
    settings = context.settings.index
    rows = [part.rows for part in parts]
    if codec is None:
        most = max(EXACT_SHARD_PASSAGES, *rows)
        return [Shard(tuple(group), None) for group in plan_shards(rows, most)]
    groups = plan_shards(rows, settings.shard_passages)
    units = plan_build(parts, groups, codec)
    make = partial(Build, context.workspace, settings.device)
    dones = run_stage(context, "build", units, [Step(make)])
    return [
        Shard(tuple(group), done.outputs["shard"])
        for group, done in zip(groups, dones, strict=True)
    ]


def plan_build(
    parts: Sequence[Part], groups: Sequence[Sequence[int]], codec: FileRef
) -> list[Unit]:
    """One unit a shard; it is named from the codec and the parts."""
    specs = [[part_spec(n, parts[n]) for n in group] for group in groups]
    return [Unit("build", {"codec": codec.json(), "parts": spec}) for spec in specs]


@dataclass(frozen=True)
class Train:
    """The sample → the codec."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        refs = [FileRef.parse(ref) for ref in unit.spec["sample"]]
        vectors = matrix(read_sample(self.workspace, refs)["vector"])
        codec = train_codec(vectors, IndexPlan(**unit.spec["plan"]))
        ref = self.workspace.write_content("codecs/{}.faiss", codec, rows=0)
        return Result({"codec": ref}, {"rows": len(vectors)}, {})


@dataclass(frozen=True)
class Build:
    """A shard's parts → its index file."""

    workspace: Workspace
    device: str

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        use_threads(1)
        codec = self.workspace.storage.read_checked(FileRef.parse(unit.spec["codec"]))
        parts = unit.spec["parts"]
        starts = offsets(parts)
        blocks = load_blocks(self.workspace, parts)
        vectors = (searchable(*pair) for pair in zip(blocks, starts, strict=True))
        rows = sum(part["passages"]["rows"] for part in parts)
        data = build_shard(codec, vectors, self.device)
        ref = self.workspace.write_content("shards/{}.faiss", data, rows)
        return Result({"shard": ref}, {"rows": rows}, {})
