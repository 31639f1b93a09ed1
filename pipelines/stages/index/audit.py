"""audit: how much of exact search the index finds, and at which effort it finds enough.

One sweep over the shards measures all efforts at once: for each of the documents nearest to a
question, the score by which a search finds it, through what searches with (`DocumentSearch`). From
these the curve is arithmetic.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Int32
from shardrank.core.arrow_columns import matrix, vector_column
from shardrank.core.settings import AuditSettings
from shardrank.core.units import Done, FileRef, Unit
from shardrank.corpus.queries import read_queries
from shardrank.models.cards import EncoderCard
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.sweep import Step, Tables
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.encode import encode, write_blocks
from shardrank.stages.shared.open_shards import document_numbers, open_shard, shard_specs
from shardrank.stages.shared.part_blocks import load_blocks, offsets
from shardrank.stages.shared.sample import Draw, sample
from shardrank.storage import Sources
from shardrank.version.manifest import Part, Shard
from shardrank.version.recall import (
    AuditPoint,
    CostModel,
    Grid,
    Probe,
    choose,
    followed,
    merge_probes,
    recall_curve,
)
from shardrank.version.sizing import CodecPlan


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
    points = _curve(_merged(context.workspace, dones, index, settings), index, settings)
    best = choose(points, settings.target) or max(points, key=lambda p: p.recall)
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
        "documents": followed(settings.k),
        "grid": asdict(_grid(index, settings)),
    }
    shards = shard_specs(index.parts, index.shards, settings.k)
    return [Unit("audit", {**shard, **common}) for shard in shards]


@dataclass(frozen=True)
class Audit:
    """A shard → the documents nearest to the questions in it, and by what scores it gives them."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        from shardrank.index.probe import nearest_documents, probe  # brings faiss and numba

        spec, parts, read = unit.spec, unit.spec["parts"], self.workspace.read_table
        asked = pa.concat_tables([read(FileRef.parse(ref)) for ref in spec["questions"]])
        queries, starts = matrix(asked["vector"]), offsets(parts)
        numbers = document_numbers(self.workspace, parts)
        own = _own_documents(asked, parts, starts, numbers)
        blocks = load_blocks(self.workspace, parts)
        near = nearest_documents(queries, blocks, starts, numbers, spec["documents"], own)
        search = open_shard(self.workspace, spec, numbers)
        found = probe(search, queries, near, Grid(**spec["grid"]), spec["least"])
        ref = self.workspace.write_scratch(unit, "probe.parquet", _from_probe(found))
        return Result({"probe": ref}, {"rows": len(queries)}, {"hits": found.hits.tolist()})


def _own_documents(
    asked: pa.Table, parts: list[dict[str, Any]], starts: list[int], numbers: Int32
) -> Int32:
    """int32[Q]: the document of this shard that each question is of; -1 where it lies elsewhere."""
    own = np.full(asked.num_rows, -1, dtype=np.int32)
    if "part" not in asked.column_names:
        return own
    part, row = asked["part"].to_numpy(), asked["row"].to_numpy()
    for spec, start in zip(parts, starts, strict=True):
        mine = part == spec["ordinal"]
        own[mine] = numbers[row[mine] + start]
    return own


def _from_probe(probe: Probe) -> pa.Table:
    """One row a document: its score, and those by which it is found over the grid."""
    found = probe.found.reshape(probe.scores.size, -1)
    return pa.table({"score": probe.scores.ravel(), "found": vector_column(found)})


def _to_probe(table: pa.Table, documents: int, hits: Sequence[Sequence[int]]) -> Probe:
    refined = np.array(hits, np.int64)
    scores = table["score"].to_numpy().reshape(-1, documents)
    return Probe(scores, matrix(table["found"]).reshape(*scores.shape, *refined.shape), refined)


def _merged(
    workspace: Workspace, dones: Sequence[Done], index: Index, settings: AuditSettings
) -> Probe:
    """Of all shards, one after another, so that memory does not grow with them."""
    documents = followed(settings.k)
    probes = (
        _to_probe(workspace.read_table(done.outputs["probe"]), documents, done.facts["hits"])
        for done in dones
    )
    return reduce(lambda one, other: merge_probes(one, other, documents), probes)


def _grid(index: Index, settings: AuditSettings) -> Grid:
    return Grid.of(index.plan.nlist, settings.k, settings.max_depth)


def _curve(probe: Probe, index: Index, settings: AuditSettings) -> list[AuditPoint]:
    costs = CostModel(
        passages=sum(part.live.passages for part in index.parts),
        nlist=index.plan.nlist,
        dim=index.card.dim,
    )
    return recall_curve(probe, settings.k, _grid(index, settings), costs)
