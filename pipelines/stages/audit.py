"""audit: how much of exact search the index finds, and at which effort it finds enough.

One sweep over the shards measures all efforts at once: for each exact neighbour of a question,
its rank among the candidates at every nprobe. From these the curve is arithmetic.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core import audit as arithmetic
from pipelines.core.audit import AuditPoint, CostModel, Probe
from pipelines.core.columns import matrix
from pipelines.core.protocols import Int64
from pipelines.core.settings import AuditSettings
from pipelines.core.sizing import CodecPlan
from pipelines.core.units import FileRef, Unit
from pipelines.core.version import Part, Shard
from pipelines.corpus.queries import read_queries
from pipelines.models.card import EncoderCard
from pipelines.models.products import int8_product
from pipelines.models.threads import use_threads as use_torch_threads
from pipelines.stages.blocks import live_positions, load_blocks, offsets, part_spec
from pipelines.stages.encode import encode, write_blocks
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sample import Draw, sample
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace
from pipelines.storage import Sources


@dataclass(frozen=True)
class Index:
    """What is audited."""

    parts: Sequence[Part]
    shards: Sequence[Shard]
    plan: CodecPlan
    card: EncoderCard


def audit(context: Context, index: Index) -> dict[str, Any]:
    """The audit of a version: target, recall, chosen effort and the measured curve.

    Exact search has nothing to audit: its recall is 1 by construction, and the curve is empty.
    """
    settings = context.settings.audit
    head = {"kind": index.plan.kind, "k": settings.k, "target": settings.target}
    if index.plan.kind == "exact":
        return head | {"recall": 1.0, "nprobe": 0, "depth": 0, "points": [], "questions": 0}
    questions = _questions(context, index)
    units = plan_audit(index, questions, settings)
    dones = run_stage(context, "audit", units, [Step(partial(Audit, context.workspace))])
    tables = [context.workspace.read_table(done.outputs["probe"]) for done in dones]
    probe = arithmetic.merge_probes([_to_probe(table, settings.k) for table in tables], settings.k)
    points = _curve(probe, index, settings)
    best = arithmetic.choose(points, settings.target) or max(points, key=lambda p: p.recall)
    chosen = {"recall": best.recall, "nprobe": best.nprobe, "depth": best.depth}
    asked = sum(ref.rows for ref in questions)
    return head | chosen | {"points": [asdict(p) for p in points], "questions": asked}


def _questions(context: Context, index: Index) -> list[FileRef]:
    """Files of question vectors: held-out passages, or the real queries that the settings name."""
    settings = context.settings
    if settings.audit.query_file is None:
        seed = settings.index.seed + 1
        return sample(context, index.parts, Draw("questions", settings.audit.queries, seed))
    sources = Sources(settings.s3)
    listing = sources.listing(settings.audit.query_file, settings.corpus.allow_unread)
    batch = read_queries(listing.read, sources.open, settings.corpus)
    texts = write_blocks(context.workspace, batch.table, settings.search.block_queries)
    blocks = encode(context, texts, index.card)
    return [block.vectors for block in blocks]


def plan_audit(index: Index, questions: Sequence[FileRef], settings: AuditSettings) -> list[Unit]:
    """One unit a shard; it is named from the shard, the questions and what is measured."""
    common = {
        "questions": [ref.json() for ref in questions],
        "k": settings.k,
        "max_depth": settings.max_depth,
        "nlist": index.plan.nlist,
    }
    return [
        Unit(
            "audit",
            {
                "shard": shard.file.json() if shard.file else None,
                "parts": [part_spec(n, index.parts[n]) for n in shard.parts],
                **common,
            },
        )
        for shard in index.shards
    ]


@dataclass(frozen=True)
class Audit:
    """A shard → the questions' exact neighbours in it, and their ranks among its candidates."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        # These bring faiss and numba.
        from pipelines.index.probe import exact_neighbours, probe_ranks
        from pipelines.index.shard import Shard as LoadedShard
        from pipelines.index.shard import use_threads as use_faiss_threads

        use_faiss_threads(1)
        use_torch_threads(1)
        spec, read = unit.spec, self.workspace.read_table
        asked = pa.concat_tables([read(FileRef.parse(ref)) for ref in spec["questions"]])
        queries = matrix(asked["vector"])
        starts = offsets(spec["parts"])
        blocks = load_blocks(self.workspace, spec["parts"])
        itself = _own_positions(asked, spec["parts"], starts)
        near = exact_neighbours(queries, blocks, starts, spec["k"], itself)
        shard = LoadedShard.load(
            self.workspace.storage.read_checked(FileRef.parse(spec["shard"])), int8_product
        )
        grid = arithmetic.probe_grid(spec["nlist"])
        live = live_positions(self.workspace, spec["parts"])
        ranks = probe_ranks(shard, queries, near.positions, grid, spec["max_depth"], live)
        probe = _from_probe(Probe(near.scores, ranks))
        ref = self.workspace.write_scratch(unit, "probe.parquet", probe)
        return Result({"probe": ref}, {"rows": len(queries)}, {})


def _own_positions(asked: pa.Table, parts: list[dict[str, Any]], starts: list[int]) -> Int64:
    """int64[Q]: each question's own position in this shard; -1 where it lies elsewhere."""
    own = np.full(asked.num_rows, -1, dtype=np.int64)
    if "part" not in asked.column_names:
        return own
    part, row = asked["part"].to_numpy(), asked["row"].to_numpy()
    for spec, start in zip(parts, starts, strict=True):
        mine = part == spec["ordinal"]
        own[mine] = row[mine] + start
    return own


def _from_probe(probe: Probe) -> pa.Table:
    """One row a neighbour: its score, and its ranks over the grid."""
    ranks = pa.FixedSizeListArray.from_arrays(probe.ranks.ravel(), probe.ranks.shape[2])
    return pa.table({"score": probe.scores.ravel(), "ranks": ranks})


def _to_probe(table: pa.Table, k: int) -> Probe:
    scores = table["score"].to_numpy().reshape(-1, k)
    ranks = table["ranks"].combine_chunks()
    shape = (*scores.shape, ranks.type.list_size)
    return Probe(scores, ranks.flatten().to_numpy().astype(np.int32).reshape(shape))


def _curve(probe: Probe, index: Index, settings: AuditSettings) -> list[AuditPoint]:
    costs = CostModel(
        passages=sum(part.live.passages for part in index.parts),
        shards=len(index.shards),
        nlist=index.plan.nlist,
        dim=index.card.dim,
    )
    depths = arithmetic.depth_grid(settings.k, settings.max_depth)
    return arithmetic.recall_curve(probe, arithmetic.probe_grid(index.plan.nlist), depths, costs)
