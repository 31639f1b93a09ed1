"""gather: the text of every candidate, and the retrieval scores that are lacking, by one sweep over
the parts, written by query block; no part is read once a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int64
from shardrank.core.arrow_columns import matrix
from shardrank.core.files import FileRef
from shardrank.core.model_settings import DENSE
from shardrank.core.units import Done, Stage, Unit
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.labels.scored import find, joined
from shardrank.stages.label.mine import Mined
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.pairs_by_part import count_pairs, files_of, group_parts
from shardrank.version.manifest import Version

COLUMNS = ["doc_id", "passage", "title", "text", "tokens"]
#: Candidates whose retrieval score was lacking: query, part, row, score.
RETRIEVAL = pa.schema(
    [
        *(pa.field(name, pa.int32(), nullable=False) for name in ("query", "part", "row")),
        pa.field("score", pa.float32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Stores:
    """Where the three lie: the labels, the ranked run, the index."""

    labels: Workspace
    out: Workspace
    index: Workspace


@dataclass(frozen=True)
class PartFilesAt:
    """A part's files, by its place in the version."""

    ordinal: int
    passages: FileRef
    vectors: FileRef


@dataclass(frozen=True)
class BlockGather:
    """A block by its number: its query vectors (the ranked run's), and files of its candidates."""

    block: int
    vectors: FileRef
    candidates: tuple[FileRef, ...]


@dataclass(frozen=True)
class GatherSpec:
    """A run of parts, and the blocks with candidates in them."""

    parts: tuple[PartFilesAt, ...]
    blocks: tuple[BlockGather, ...]


@dataclass(frozen=True)
class BlockGathered:
    """A block's candidates in some parts: their passages (part, row and COLUMNS, by place), and
    the scores that were lacking (RETRIEVAL)."""

    block: int
    passages: FileRef
    retrieval: FileRef


@dataclass(frozen=True)
class Gathered:
    """What was gathered for each block, so that a block's reader reads no other's."""

    blocks: tuple[BlockGathered, ...]


GATHER = Stage("gather", GatherSpec, Gathered)


def gather(
    context: Context,
    stores: Stores,
    version: Version,
    vectors: Sequence[FileRef],
    mined: Sequence[Done[Mined]],
    bucket_parts: int,
) -> list[Done[Gathered]]:
    """The candidates' texts and missing scores, a unit a run of parts.

    `vectors` are the query vectors of each block, `mined` the markers beside them.
    """
    every = [done.made.every for done in mined]
    specs = [
        GatherSpec(
            tuple(_files(version, n) for n in group),
            tuple(
                BlockGather(number, ref, files_of(block.buckets, group, bucket_parts))
                for number, (ref, block) in enumerate(zip(vectors, every, strict=True))
                if not {each.part for each in block.pairs}.isdisjoint(group)
            ),
        )
        for group in group_parts(count_pairs(block.pairs for block in every))
    ]
    return run_stage(context, GATHER, specs, [Step(partial(Gather, stores))])


def _files(version: Version, ordinal: int) -> PartFilesAt:
    part = version.parts[ordinal]
    return PartFilesAt(ordinal, part.passages, part.columns[DENSE].file)


def gathered_by_block(dones: Sequence[Done[Gathered]], blocks: int) -> list[list[BlockGathered]]:
    """Of each of so many blocks, what was gathered for it, by parts."""
    found: list[list[BlockGathered]] = [[] for _ in range(blocks)]
    for each in (each for done in dones for each in done.made.blocks):
        found[each.block].append(each)
    return found


@dataclass(frozen=True)
class Gather:
    """A run of parts → the blocks' candidates in them: passages, and scores."""

    stores: Stores

    def __call__(self, unit: Unit[GatherSpec], tables: Tables) -> Result[Gathered]:
        spec = unit.spec
        pairs = self._pairs(spec)
        passages = self._passages(spec, np.unique(places_of(pairs)))
        scores = self._scores(spec, pairs.filter(pc.is_null(pairs["retrieval"])))
        blocks = [
            self._of_block(unit, each.block, _of(pairs, each.block), passages, scores)
            for each in spec.blocks
        ]
        rows = sum(each.passages.rows for each in blocks)
        return Result(Gathered(tuple(blocks)), {"rows": rows, "scored": scores.num_rows})

    def _of_block(
        self,
        unit: Unit[GatherSpec],
        block: int,
        pairs: pa.Table,
        passages: pa.Table,
        lacking: pa.Table,
    ) -> BlockGathered:
        """Write what is of one block."""
        labels = self.stores.labels
        at = find(places_of(passages), np.unique(places_of(pairs)))
        mine = passages.take(pa.array(at))
        scores = _of(lacking, block).drop_columns("block").cast(RETRIEVAL)
        return BlockGathered(
            block,
            labels.write_content("passages/{}.parquet", encode_table(mine), mine.num_rows),
            labels.write_scratch(unit, f"retrieval-{block:05d}.parquet", scores),
        )

    def _pairs(self, spec: GatherSpec) -> pa.Table:
        """The candidates in these parts: block, query, part, row, retrieval."""
        parts = pa.array([part.ordinal for part in spec.parts], pa.int32())
        names = ["query", "part", "row", "retrieval"]
        found = []
        for number, ref in ((each.block, ref) for each in spec.blocks for ref in each.candidates):
            table = self.stores.labels.read_table(ref, names)
            mine = table.filter(pc.is_in(table["part"], value_set=parts))
            ordinal = pa.array(np.full(mine.num_rows, number, dtype=np.int32))
            found.append(mine.append_column("block", ordinal))
        return pa.concat_tables(found)

    def _passages(self, spec: GatherSpec, places: Int64) -> pa.Table:
        pieces = []
        for part in spec.parts:
            rows = (places[places >> 32 == part.ordinal] & 0xFFFFFFFF).astype(np.int32)
            taken = self.stores.index.read_table(part.passages, COLUMNS).take(pa.array(rows))
            ordinal = pa.array(np.full(len(rows), part.ordinal, dtype=np.int32))
            taken = taken.add_column(0, "part", ordinal).add_column(1, "row", pa.array(rows))
            pieces.append(taken)
        # Of two tokenisers, while a backfill goes on, one may need wider ids.
        return pa.concat_tables(pieces, promote_options="permissive")

    def _scores(self, spec: GatherSpec, pairs: pa.Table) -> pa.Table:
        from shardrank.index.pairs import pair_scores  # brings numba

        order = [(name, "ascending") for name in ("block", "query", "part", "row")]
        pairs = pairs.select(["block", "query", "part", "row"]).sort_by(order)
        scores = np.zeros(pairs.num_rows, np.float32)
        blocks, parts = pairs["block"].to_numpy(), pairs["part"].to_numpy()
        vectors = {block.block: block.vectors for block in spec.blocks}
        query, row = (pairs[name].to_numpy().astype(np.int64) for name in ("query", "row"))
        for part in (part for part in spec.parts if part.ordinal in parts):
            stored = matrix(self.stores.index.read_table(part.vectors)["vector"])
            for block in np.unique(blocks[parts == part.ordinal]):
                mine = (parts == part.ordinal) & (blocks == block)
                asked = matrix(self.stores.out.read_table(vectors[block])["vector"])
                scores[mine] = pair_scores(asked, query[mine], stored, row[mine])
        return pairs.append_column("score", pa.array(scores))


def _of(table: pa.Table, block: int) -> pa.Table:
    return table.filter(pc.equal(table["block"], block))


def places_of(table: pa.Table) -> Int64:
    """int64[n]: part and row of each row as one number."""
    return joined(table["part"].to_numpy(), table["row"].to_numpy())
