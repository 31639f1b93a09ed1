"""audit: how much of exact search the index finds, and at which effort it finds enough.

One sweep over the shards measures all efforts at once: for each of the documents nearest to a
question, the score by which a search finds it, through what searches with (`DocumentSearch`). From
these the curve is arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Int32
from shardrank.core.arrow_columns import matrix, vector_column
from shardrank.core.cards import AnchorCard, EncoderCard, ImageCard, LateCard, dim_of
from shardrank.core.files import FileRef
from shardrank.core.index_settings import AuditSettings
from shardrank.core.token_vectors import TokenVectors
from shardrank.core.units import Done, Stage, Unit
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.corpus.queries import read_queries
from shardrank.models.encoders.anchor_codec import AnchorCodec
from shardrank.models.forward.products import int8_product
from shardrank.stages.index.query_questions import query_questions
from shardrank.stages.index.token_questions import token_questions
from shardrank.stages.index.wanted import WantedIndex
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_encoders import read_codec
from shardrank.stages.shared.encode import KEY, encode, write_blocks
from shardrank.stages.shared.open_shards import (
    CodedColumn,
    SearchedShard,
    document_numbers,
    open_shard,
    searched_shards,
)
from shardrank.stages.shared.open_tokens import load_token_parts, open_plaid
from shardrank.stages.shared.part_blocks import PartColumn, load_blocks, offsets
from shardrank.stages.shared.sample import Draw, sample
from shardrank.storage import Sources
from shardrank.version.indexes import Audit, AuditPoint, Shard
from shardrank.version.manifest import DenseEncoder, StoredEncoder, dense
from shardrank.version.parts import Part
from shardrank.version.recall import (
    CostModel,
    Costs,
    Grid,
    Probe,
    TokenCosts,
    choose,
    followed,
    merge_probes,
    recall_curve,
)
from shardrank.version.sizing import CodecPlan, Kind


@dataclass(frozen=True)
class AuditSpec:
    """A shard, the files of question vectors, how many documents are followed, the efforts."""

    shard: SearchedShard
    questions: tuple[FileRef, ...]
    documents: int
    grid: Grid


@dataclass(frozen=True)
class Measured:
    """The table of `_from_probe`, and passages refined for all questions at each effort."""

    probe: FileRef
    hits: tuple[tuple[int, ...], ...]


AUDIT = Stage("audit", AuditSpec, Measured)


@dataclass(frozen=True)
class Audited:
    """What is audited: an index over vectors, and its shards."""

    wanted: WantedIndex
    shards: Sequence[Shard]
    plan: CodecPlan

    @property
    def parts(self) -> Sequence[Part]:
        return self.wanted.parts

    @property
    def column(self) -> str:
        return self.wanted.column

    @property
    def vectors(self) -> StoredEncoder:
        """What makes the vectors that are searched exactly."""
        return self.wanted.scored

    @property
    def coded(self) -> CodedColumn | None:
        """The codes that are searched, if it has no file."""
        codec = self.wanted.encoder.codec
        binary = self.plan.kind == "binary"
        return CodedColumn(self.column, codec) if binary and codec else None


def audit(context: Context, index: Audited) -> Audit:
    """The audit of a version.

    Exact search has nothing to audit: its recall is 1 by construction, and the curve is empty.
    """
    settings = context.settings.audit
    if index.plan.kind == "exact":
        return exact_audit("exact", settings)
    questions = _questions(context, index)
    specs = plan_audit(index, questions, settings)
    stage = AUDIT.of(index.column)
    dones = run_stage(context, stage, specs, [Step(partial(Measure, context.workspace))])
    points = _curve(_merged(context.workspace, dones, index, settings), index, settings)
    best = choose(points, settings.target) or max(points, key=lambda p: p.recall)
    return Audit(
        kind=index.plan.kind,
        k=settings.k,
        target=settings.target,
        recall=best.recall,
        nprobe=best.nprobe,
        depth=best.depth,
        points=tuple(points),
        questions=sum(ref.rows for ref in questions),
    )


def exact_audit(kind: Kind, settings: AuditSettings) -> Audit:
    """Of an index that finds all by construction."""
    return Audit(kind, settings.k, settings.target, 1.0, 0, 0, (), 0)


def _questions(context: Context, index: Audited) -> list[FileRef]:
    """Files of question vectors: the real queries that the settings name, if the column is made of
    texts by a dense encoder, or of texts and pictures, else held-out passages.

    Where queries' vectors are no passages', they are those that the encoder learnt of, or made of
    passages' token vectors.
    """
    settings, encoder = context.settings, index.vectors
    if index.plan.kind == "plaid":
        return token_questions(context, index.wanted)
    if isinstance(encoder.card, AnchorCard):
        return [_anchor_questions(context.workspace, encoder, settings.audit)]
    file = settings.audit.query_file
    if file is not None and isinstance(encoder.card, ImageCard):
        return query_questions(context, index.column, encoder, file)
    if file is None or not isinstance(encoder.card, EncoderCard):
        seed = index.wanted.settings.seed + 1
        return sample(
            context,
            index.parts,
            Draw("questions", index.vectors.name, settings.audit.queries, seed),
        )
    return query_vectors(context, dense(encoder), file)


def query_vectors(context: Context, encoder: DenseEncoder, path: str) -> list[FileRef]:
    """Files of the vectors of real queries."""
    settings, sources = context.settings, Sources(context.settings.s3)
    listing = sources.listing(path, settings.corpus.allow_unread)
    batch = read_queries(listing.read, sources.open, settings.corpus)
    texts = write_blocks(context.workspace, batch.table, settings.search.block_queries)
    return [block.vectors for block in encode(context, texts, encoder)]


def _anchor_questions(
    workspace: Workspace, encoder: StoredEncoder, settings: AuditSettings
) -> FileRef:
    codec = AnchorCodec.of(read_codec(workspace, encoder.codec))
    table = pa.table({"vector": vector_column(codec.asked[: settings.queries])})
    return workspace.write_content(KEY, encode_table(table), table.num_rows)


def plan_audit(
    index: Audited, questions: Sequence[FileRef], settings: AuditSettings
) -> list[AuditSpec]:
    """Of each shard."""
    grid, documents = _grid(index, settings), followed(settings.k)
    codec = index.wanted.encoder.codec if index.plan.kind == "plaid" else None
    return [
        AuditSpec(replace(shard, codec=codec), tuple(questions), documents, grid)
        for shard in searched_shards(
            index.parts, index.vectors.name, index.shards, settings.k, index.coded
        )
    ]


@dataclass(frozen=True)
class Measure:
    """A shard → the documents nearest to the questions in it, and by what scores it gives them."""

    workspace: Workspace

    def __call__(self, unit: Unit[AuditSpec], tables: Tables) -> Result[Measured]:
        spec, shard = unit.spec, unit.spec.shard
        asked = pa.concat_tables([self.workspace.read_table(ref) for ref in spec.questions])
        numbers = document_numbers(self.workspace, shard.parts)
        own = _own_documents(asked, shard.parts, offsets(shard.parts), numbers)
        measure = self._tokens if shard.codec else self._vectors
        found = measure(spec, asked, numbers, own)
        ref = self.workspace.write_scratch(unit, "probe.parquet", _from_probe(found))
        hits = tuple(map(tuple, found.hits.tolist()))
        return Result(Measured(ref, hits), {"rows": asked.num_rows})

    def _vectors(self, spec: AuditSpec, asked: pa.Table, numbers: Int32, own: Int32) -> Probe:
        from shardrank.index.probe import nearest_documents, probe  # brings numba

        queries, shard = matrix(asked["vector"]), spec.shard
        blocks, starts = load_blocks(self.workspace, shard.parts), offsets(shard.parts)
        near = nearest_documents(
            queries, blocks, starts, numbers, spec.documents, own, int8_product
        )
        search = open_shard(self.workspace, shard, numbers)
        return probe(search, queries, near, spec.grid, shard.least)

    def _tokens(self, spec: AuditSpec, asked: pa.Table, numbers: Int32, own: Int32) -> Probe:
        from shardrank.index.probe import PartPairs, nearest_by, probe  # brings numba
        from shardrank.index.token_parts import near_tokens

        queries, shard = TokenVectors.of(asked["vector"]), spec.shard
        parts = load_token_parts(self.workspace, shard)
        wanted = spec.documents + 1  # a question's own document may be among them
        pairs = (
            PartPairs(each.rows.rows, partial(near_tokens, queries, each, wanted)) for each in parts
        )
        starts = offsets(shard.parts)
        near = nearest_by(queries.rows, pairs, starts, numbers, spec.documents, own)
        search = open_plaid(self.workspace, shard, numbers)
        return probe(search, queries, near, spec.grid, shard.least)


def _own_documents(
    asked: pa.Table, parts: Sequence[PartColumn], starts: list[int], numbers: Int32
) -> Int32:
    """int32[Q]: the document of this shard that each question is of; -1 where it lies elsewhere."""
    own = np.full(asked.num_rows, -1, dtype=np.int32)
    if "part" not in asked.column_names:
        return own
    part, row = asked["part"].to_numpy(), asked["row"].to_numpy()
    for each, start in zip(parts, starts, strict=True):
        mine = part == each.ordinal
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
    workspace: Workspace, dones: Sequence[Done[Measured]], index: Audited, settings: AuditSettings
) -> Probe:
    """Of all shards, one after another, so that memory does not grow with them."""
    documents = followed(settings.k)
    probes = (
        _to_probe(workspace.read_table(done.made.probe), documents, done.made.hits)
        for done in dones
    )
    return reduce(lambda one, other: merge_probes(one, other, documents), probes)


def _grid(index: Audited, settings: AuditSettings) -> Grid:
    grid = Grid.of_tokens if index.plan.kind == "plaid" else Grid.of
    return grid(index.plan.nlist, settings.k, settings.max_depth)


def _curve(probe: Probe, index: Audited, settings: AuditSettings) -> list[AuditPoint]:
    card, passages = index.vectors.card, sum(part.live.passages for part in index.parts)
    searched = index.plan.searched(dim_of(card))
    costs: Costs = CostModel(passages, index.plan.nlist, searched)
    if isinstance(card, LateCard):
        costs = TokenCosts(passages, index.plan.nlist, card.dim)
    return recall_curve(probe, settings.k, _grid(index, settings), costs)
