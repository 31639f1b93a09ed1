"""mine: which (query, passage) pairs the teachers shall score, one query block a unit.

The first documents of each ranking, and judged positives behind them; positives that retrieval
missed, with all their passages (the teachers' best one counts); and negatives drawn from the index
and from other queries' positives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import PlainSerializer

from shardrank.core.arrays import Int32, Int64
from shardrank.core.excluded import EXCLUDED, excluded_pairs
from shardrank.core.files import FileRef
from shardrank.core.settings import LabelSettings
from shardrank.core.topk import ranks
from shardrank.core.units import Done, Stage, Unit
from shardrank.corpus.first_pass import id_hash
from shardrank.labels.draw import draw
from shardrank.labels.scored import Origin, find, joined, mix, within_runs
from shardrank.labels.tables import CANDIDATES
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.locate import read_located
from shardrank.stages.shared.pairs_by_part import (
    PairFile,
    PartPairs,
    pairs_by_part,
    write_buckets,
)
from shardrank.stages.shared.ranked_runs import RankedBlock
from shardrank.stages.shared.sample import read_sample

#: Passages drawn from the index for all random negatives, and positives for those of a batch.
POOL = 1024

#: Settings that decide what is mined; the others act on the scores.
_DECIDING = {"depth", "min_grade", "random_negatives", "batch_negatives", "seed"}


def mining_settings(settings: LabelSettings) -> dict[str, Any]:
    """Those that decide what is mined, as JSON."""
    return settings.model_dump(mode="json", include=_DECIDING)


@dataclass(frozen=True)
class Mining:
    """What mining reads: of the ranked run, its blocks, and the files of scores that it has already
    of some teachers, for each block and each of these; of the label run, judgements by block, where
    positives lie, the drawn pool, and where documents lie that queries exclude, if they may. Parts
    of a bucket share a file of candidates.

    The hits' scores are taken where they are `by_first`, the first encoder's; others are lacking.
    """

    out: Workspace
    blocks: Sequence[RankedBlock]
    known: Sequence[Sequence[tuple[FileRef, ...]]]
    by_first: bool
    bucket_parts: int
    judged: Sequence[FileRef]
    located: Sequence[FileRef]
    pool: Sequence[FileRef]
    excluded: Sequence[FileRef] | None = None


@dataclass(frozen=True)
class MineSpec:
    """A block of the ranked run (queries, hits); what it has already of each of some teachers;
    judgements, where positives lie, the drawn pool, and where documents lie that queries
    exclude."""

    block: int
    queries: FileRef
    hits: FileRef
    by_first: bool
    judged: FileRef
    known: tuple[tuple[FileRef, ...], ...]
    located: tuple[FileRef, ...]
    pool: tuple[FileRef, ...]
    bucket_parts: int
    settings: Annotated[LabelSettings, PlainSerializer(mining_settings)]
    excluded: tuple[FileRef, ...] | None = None


@dataclass(frozen=True)
class MinedPairs:
    """Candidates (query, part, row, rank, retrieval) by the parts that they lie in, and how many
    lie in each."""

    buckets: tuple[PairFile, ...]
    pairs: tuple[PartPairs, ...]


@dataclass(frozen=True)
class Mined:
    """A block's CANDIDATES; by parts all of them, and those without a score in the ranked run by
    each of the teachers that it has scores of."""

    candidates: FileRef
    every: MinedPairs
    lacking: tuple[MinedPairs, ...]


MINE = Stage("mine", MineSpec, Mined)


def mine(context: Context, mining: Mining) -> list[Done[Mined]]:
    """The candidates of each block."""
    specs = [
        MineSpec(
            block=number,
            queries=block.queries,
            hits=block.hits,
            by_first=mining.by_first,
            judged=judged,
            known=tuple(known),
            located=tuple(mining.located),
            pool=tuple(mining.pool),
            bucket_parts=mining.bucket_parts,
            settings=context.settings.label,
            excluded=None if mining.excluded is None else tuple(mining.excluded),
        )
        for number, (block, known, judged) in enumerate(
            zip(mining.blocks, mining.known, mining.judged, strict=True)
        )
    ]
    return run_stage(context, MINE, specs, [Step(partial(Mine, context.workspace, mining.out))])


@dataclass(frozen=True)
class Mine:
    """A query block → CANDIDATES."""

    workspace: Workspace
    out: Workspace

    def __call__(self, unit: Unit[MineSpec], tables: Tables) -> Result[Mined]:
        block = MiningBlock.read(self.workspace, self.out, unit.spec)
        table = candidates(block, unit.spec.settings)
        made = Mined(
            candidates=self.workspace.write_scratch(unit, "candidates.parquet", table),
            every=self._by_parts(unit, "every", table),
            lacking=tuple(
                self._by_parts(unit, f"lacking-{number}", self._lacking(table, known))
                for number, known in enumerate(unit.spec.known)
            ),
        )
        return Result(made, {"rows": table.num_rows})

    def _lacking(self, table: pa.Table, known: Sequence[FileRef]) -> pa.Table:
        """The candidates that these files hold no score of."""
        names = ["query", "part", "row"]
        for ref in known:
            scored = self.out.read_table(ref, names)
            table = table.join(scored, names, join_type="left anti")
        order = [(name, "ascending") for name in ("query", "origin", "rank", "part", "row")]
        return table.sort_by(order)

    def _by_parts(self, unit: Unit[MineSpec], name: str, table: pa.Table) -> MinedPairs:
        pairs = table.select(["query", "part", "row", "rank", "retrieval"])
        files = write_buckets(self.workspace, unit, name, pairs, unit.spec.bucket_parts)
        return MinedPairs(files, pairs_by_part(table["part"]))


@dataclass(frozen=True)
class MiningBlock:
    """A block's tables: query ids, hits (and whose scores they have), judgements, positions, pool,
    and query, part and first row of the documents that queries exclude."""

    query_ids: list[str]
    by_first: bool
    hits: pa.Table
    judged: pa.Table
    located: pa.Table
    pool: pa.Table
    excluded: pa.Table

    @classmethod
    def read(cls, workspace: Workspace, out: Workspace, spec: MineSpec) -> "MiningBlock":
        queries = out.read_table(spec.queries, ["query_id"])
        return cls(
            query_ids=queries["query_id"].to_pylist(),
            by_first=spec.by_first,
            hits=out.read_table(spec.hits),
            judged=workspace.read_table(spec.judged),
            located=read_located(workspace, spec.located),
            pool=_read_pool(workspace, spec.pool),
            excluded=_read_excluded(workspace, out, spec),
        )


def _read_excluded(workspace: Workspace, out: Workspace, spec: MineSpec) -> pa.Table:
    names = ["query", "part", "row"]
    if spec.excluded is None:
        return pa.table({name: pa.array([], pa.int32()) for name in names})
    pairs = excluded_pairs(out.read_table(spec.queries, [EXCLUDED])[EXCLUDED])
    located = read_located(workspace, spec.excluded)
    return pairs.join(located, "doc_id", join_type="inner").select(names)


def _read_pool(workspace: Workspace, refs: Sequence[FileRef]) -> pa.Table:
    names = ["part", "row", "passage"]
    if not refs:
        return pa.table({name: pa.array([], pa.int32()) for name in names})
    return read_sample(workspace, refs).select(names)


def candidates(block: MiningBlock, settings: LabelSettings) -> pa.Table:
    """CANDIDATES of a block, by query, then origin, rank and place."""
    judged = block.judged.join(block.located, "doc_id", join_type="inner")
    positives = judged.filter(pc.greater_equal(judged["grade"], settings.min_grade))
    near = _near(block.hits, positives, settings.depth)
    pieces = [_retrieved(block, near), _missed(positives, near)]
    known = _documents(near, [judged, block.excluded])
    if settings.random_negatives:
        pieces.append(_random(block, known, settings))
    if settings.batch_negatives:
        pieces.append(_batch(block, known, settings))
    table = pa.concat_tables(pieces)
    order = [(name, "ascending") for name in ("query", "origin", "rank", "part", "row")]
    return table.sort_by(order).combine_chunks()


def _near(hits: pa.Table, positives: pa.Table, depth: int) -> pa.Table:
    """The first `depth` hits of each query with their ranks, and those of its positives behind."""
    rank = ranks(hits)
    numbered = hits.select(["query", "doc_id"]).append_column("at", pa.array(np.arange(len(rank))))
    pairs = positives.select(["query", "doc_id"])
    relevant = numbered.join(pairs, ["query", "doc_id"], join_type="left semi")["at"].to_numpy()
    kept = rank <= depth
    kept[relevant] = True
    return hits.append_column("rank", pa.array(rank)).filter(pa.array(kept))


def _documents(near: pa.Table, others: Sequence[pa.Table]) -> tuple[Int32, Int64]:
    """The documents that no draw shall give a query, since they are found, judged or excluded:
    queries, and documents by part and first row (a document's passages are consecutive rows,
    numbered from 0)."""
    first = near["row"].to_numpy() - near["passage"].to_numpy()
    query = [near["query"].to_numpy(), *(each["query"].to_numpy() for each in others)]
    document = [joined(near["part"].to_numpy(), first)]
    document += [joined(each["part"].to_numpy(), each["row"].to_numpy()) for each in others]
    return np.concatenate(query), np.concatenate(document)


def _retrieved(block: MiningBlock, near: pa.Table) -> pa.Table:
    names = ["query", "part", "row", "doc_id", "rank"]
    lacking = pa.nulls(near.num_rows, pa.float32())
    scores = near["score"] if block.by_first else lacking
    table = near.select(names).append_column("retrieval", scores)
    table = table.join(block.judged, ["query", "doc_id"], join_type="left outer")
    origin = np.full(table.num_rows, Origin.RETRIEVED, dtype=np.int8)
    return table.append_column("origin", pa.array(origin)).select(CANDIDATES.names).cast(CANDIDATES)


def _missed(positives: pa.Table, near: pa.Table) -> pa.Table:
    """All passages of positives that are not in their query's ranking."""
    known = near.select(["query", "doc_id"])
    found = positives.join(known, ["query", "doc_id"], join_type="left anti")
    lengths = found["rows"].to_numpy()
    repeated = found.take(pa.array(np.repeat(np.arange(found.num_rows), lengths)))
    rows = repeated["row"].to_numpy() + within_runs(lengths).astype(np.int32)
    return _made(repeated["query"], repeated["part"], rows, Origin.POSITIVE, repeated["grade"])


def _random(block: MiningBlock, known: tuple[Int32, Int64], settings: LabelSettings) -> pa.Table:
    """From the pool, a passage a document, but no document that the query has."""
    part, row, passage = (block.pool[name].to_numpy() for name in ("part", "row", "passage"))
    documents, place = np.unique(joined(part, row - passage), return_index=True)
    query, at = _draw(block, known, documents, settings.random_negatives, settings.seed)
    return _made(pa.array(query), part[place][at], row[place][at], Origin.RANDOM, None)


def _batch(block: MiningBlock, known: tuple[Int32, Int64], settings: LabelSettings) -> pa.Table:
    """The first passages of other queries' positives, in any block, as in-batch negatives would
    give them; POOL of them where there are more."""
    positive = block.located.filter(block.located["positive"])
    documents = joined(positive["part"].to_numpy(), positive["row"].to_numpy())
    documents = documents[np.argsort(mix(documents.astype(np.uint64)))[:POOL]]
    # Other numbers than those of random draws, so that the two do not go together.
    query, at = _draw(block, known, documents, settings.batch_negatives, ~settings.seed)
    part, row = documents[at] >> 32, documents[at] & 0xFFFFFFFF
    return _made(pa.array(query), part.astype(np.int32), row.astype(np.int32), Origin.BATCH, None)


def _draw(
    block: MiningBlock, known: tuple[Int32, Int64], documents: Int64, count: int, seed: int
) -> tuple[Int32, Int64]:
    """(query, place among the documents) of each draw."""
    banned = np.zeros((len(block.query_ids), len(documents)), np.bool_)
    queries, theirs = known
    both = np.isin(theirs, documents)
    if both.any():
        banned[queries[both], find(documents, theirs[both])] = True
    names = np.array([id_hash(name) for name in block.query_ids], dtype=np.uint64)
    keys = mix(documents.astype(np.uint64) ^ mix(np.array([seed], np.int64).view(np.uint64)))
    query, at = draw(names, keys, banned, count)
    return query.astype(np.int32), at


def _made(
    query: pa.Array, part: pa.Array, row: pa.Array, origin: Origin, grade: pa.Array | None
) -> pa.Table:
    """CANDIDATES that the ranked run knows nothing of."""
    size = len(query)
    columns = [
        query,
        part,
        row,
        np.full(size, origin, dtype=np.int8),
        np.zeros(size, dtype=np.int32),
        pa.nulls(size, pa.int32()) if grade is None else grade,
        pa.nulls(size, pa.float32()),
    ]
    return pa.Table.from_arrays([_flat(column) for column in columns], schema=CANDIDATES)


def _flat(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks()
    return column if isinstance(column, pa.Array) else pa.array(column)
