"""score: every candidate of a query block with all its teachers' scores, in LABELS/scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Bool, Float32, Int64
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import canonical_json
from shardrank.core.units import Done, Stage, Unit
from shardrank.labels.ensemble import combine
from shardrank.labels.scored import Origin, find, joined, runs_of
from shardrank.labels.tables import scores_schema
from shardrank.stages.label.gather import BlockGathered, places_of
from shardrank.stages.label.mine import Mined
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace

#: Under this key a file's schema says which teachers gave its numbers.
METADATA = b"shardrank"
RETRIEVAL = "retrieval"


@dataclass(frozen=True)
class Teacher:
    """Who gives scores.

    Attributes:
        name: as the settings name it.
        provenance: model, fingerprint, weights and limits: what the files' metadata says of it.
        scores: files of query, part, row, logit, truncated, of each block; empty for retrieval.
        known: likewise of the ranked run, whose scores are taken where it has them.
    """

    name: str
    provenance: Mapping[str, str | int]
    scores: tuple[tuple[FileRef, ...], ...]
    known: tuple[tuple[FileRef, ...], ...]

    def of(self, block: int) -> "BlockTeacher":
        """What it has to say of a block."""
        return BlockTeacher(self.name, self.provenance, self.scores[block], self.known[block])


@dataclass(frozen=True)
class BlockTeacher:
    """A teacher and the files of its scores of one block."""

    name: str
    provenance: Mapping[str, str | int]
    scores: tuple[FileRef, ...]
    known: tuple[FileRef, ...]


@dataclass(frozen=True)
class ScoreInputs:
    """What the candidates' scores are put together from, and the query files beside them."""

    queries: Sequence[FileRef]
    mined: Sequence[Done[Mined]]
    gathered: Sequence[Sequence[BlockGathered]]
    teachers: Sequence[Teacher]


@dataclass(frozen=True)
class ScoreSpec:
    """A block's queries and candidates, their passages, the retrieval scores that were lacking, its
    teachers' scores, and how teachers are taken together."""

    block: int
    queries: FileRef
    candidates: FileRef
    passages: tuple[FileRef, ...]
    retrieval: tuple[FileRef, ...]
    teachers: tuple[BlockTeacher, ...]
    ensemble: str


@dataclass(frozen=True)
class ScoredBlock:
    """A block's scores (scores_schema)."""

    scores: FileRef


SCORE = Stage("score", ScoreSpec, ScoredBlock)


def score(context: Context, out: Workspace, inputs: ScoreInputs) -> list[Done[ScoredBlock]]:
    """The scores of each block; counts "rows", "not_finite", "truncated"."""
    specs = [
        ScoreSpec(
            block=number,
            queries=queries,
            candidates=done.made.candidates,
            passages=tuple(each.passages for each in gathered),
            retrieval=tuple(each.retrieval for each in gathered),
            teachers=tuple(teacher.of(number) for teacher in inputs.teachers),
            ensemble=context.settings.label.ensemble,
        )
        for number, (queries, done, gathered) in enumerate(
            zip(inputs.queries, inputs.mined, inputs.gathered, strict=True)
        )
    ]
    return run_stage(context, SCORE, specs, [Step(partial(Score, context.workspace, out))])


@dataclass(frozen=True)
class Score:
    """A block's candidates → its scores, each document once a query."""

    workspace: Workspace
    out: Workspace

    def __call__(self, unit: Unit[ScoreSpec], tables: Tables) -> Result[ScoredBlock]:
        spec = unit.spec
        table = self.workspace.read_table(spec.candidates)
        table = self._with_names(table, spec)
        table = self._with_retrieval(table, spec)
        teachers = [self._teacher(table, teacher) for teacher in spec.teachers]
        made, kept = _assemble(table, teachers, spec)
        ref = self.workspace.write_table(f"scores/{spec.block:05d}.parquet", made)
        counts = {
            "rows": made.num_rows,
            "not_finite": made["score"].null_count,
            "truncated": int(np.any([cut[kept] for _, cut in teachers], axis=0).sum()),
        }
        return Result(ScoredBlock(ref), counts)

    def _with_names(self, table: pa.Table, spec: ScoreSpec) -> pa.Table:
        """query_id, doc_id and passage beside each candidate."""
        names = ["doc_id", "passage"]
        taken = passages_of(self.workspace, spec.passages, places_of(table), names)
        ids = self.out.read_table(spec.queries, ["query_id"])["query_id"]
        table = table.append_column("query_id", ids.take(table["query"]))
        for name in names:
            table = table.append_column(name, taken[name])
        return table

    def _with_retrieval(self, table: pa.Table, spec: ScoreSpec) -> pa.Table:
        scores = _filled(table, table["retrieval"])
        for ref in spec.retrieval:
            piece = self.workspace.read_table(ref)
            _put(scores, table, piece, piece["score"].to_numpy())
        place = table.schema.get_field_index("retrieval")
        return table.set_column(place, "retrieval", pa.array(scores))

    def _teacher(self, table: pa.Table, teacher: BlockTeacher) -> tuple[Float32, Bool]:
        """float32[n] scores and bool[n] truncated."""
        if teacher.name == RETRIEVAL:
            return table["retrieval"].to_numpy(), np.zeros(table.num_rows, np.bool_)
        scores = np.full(table.num_rows, np.nan, dtype=np.float32)
        cut = np.zeros(table.num_rows, np.bool_)
        pieces = [self.out.read_table(ref) for ref in teacher.known]
        for piece in (*pieces, *(self.workspace.read_table(ref) for ref in teacher.scores)):
            _put(scores, table, piece, piece["logit"].to_numpy())
            _put(cut, table, piece, piece["truncated"].to_numpy())
        return scores, cut


def _assemble(
    table: pa.Table, teachers: Sequence[tuple[Float32, Bool]], spec: ScoreSpec
) -> tuple[pa.Table, Int64]:
    """The deliverable, one row a query and document, with its provenance in the schema; and which
    candidates' rows these are."""
    scores = np.stack([found for found, _ in teachers], axis=1)
    kept = _best(table, _together(table, scores, spec))
    table, scores = table.take(pa.array(kept)).combine_chunks(), scores[kept]
    # Once more, since a document's other passages take no part in a fusion of ranks.
    together = _together(table, scores, spec)
    names = [origin.name.lower() for origin in Origin]
    rank = table["rank"].to_numpy()
    columns = [
        *(table[name].combine_chunks() for name in ("query_id", "doc_id", "passage")),
        *(table[name].combine_chunks() for name in ("part", "row")),
        pa.array([names[origin] for origin in table["origin"].to_pylist()], pa.string()),
        table["grade"].combine_chunks(),
        pa.array(rank, mask=rank == 0),
        table["retrieval"].combine_chunks(),
    ]
    for number, (_, cut) in enumerate(teachers):
        columns += [pa.array(scores[:, number]), pa.array(cut[kept])]
    columns.append(pa.array(together, mask=np.isnan(together)))
    schema = scores_schema(len(teachers)).with_metadata({METADATA: provenance(spec)})
    return pa.Table.from_arrays(columns, schema=schema), kept


def _together(table: pa.Table, scores: Float32, spec: ScoreSpec) -> Float32:
    query, key = table["query"].to_numpy(), places_of(table).astype(np.uint64)
    return combine(scores, query, key, spec.ensemble)


def provenance(spec: ScoreSpec) -> bytes:
    """What a file's metadata says of its teachers: canonical JSON."""
    teachers = [{"name": teacher.name, **teacher.provenance} for teacher in spec.teachers]
    return canonical_json({"teachers": teachers, "ensemble": spec.ensemble})


def _best(table: pa.Table, score: Float32) -> Int64:
    """One row a query and document: the retrieved passage, else the one of the highest score."""
    query = table["query"].to_numpy()
    document = table["doc_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    origin = table["origin"].to_numpy()
    falling = -np.where(np.isnan(score), -np.inf, score.astype(np.float64))
    place = np.arange(len(query))
    order = np.lexsort((place, falling, origin != Origin.RETRIEVED, document, query))
    return np.sort(order[runs_of(joined(query[order], document[order]))[0]])


def _filled(table: pa.Table, column: pa.ChunkedArray) -> Float32:
    """float32[n], NaN where null; writable."""
    values: Float32 = pc.fill_null(column, float("nan")).to_numpy().copy()
    return values


def _put(into: Any, table: pa.Table, piece: pa.Table, values: Any) -> None:
    """Write `values`, which lie beside `piece`, where `table` has the same query, part and row."""
    places = np.unique(np.concatenate([places_of(table), places_of(piece)]))
    ours, theirs = (
        joined(t["query"].to_numpy(), np.searchsorted(places, places_of(t))) for t in (table, piece)
    )
    shared = np.isin(theirs, ours)
    into[find(ours, theirs[shared])] = values[shared]


def passages_of(
    workspace: Workspace, refs: Sequence[FileRef], places: Int64, columns: list[str]
) -> pa.Table:
    """Columns of a block's gathered passages at these places, in this order."""
    read = [workspace.read_table(ref, ["part", "row", *columns]) for ref in refs]
    passages = pa.concat_tables(read, promote_options="permissive")  # as `Gather` does
    return passages.take(pa.array(find(places_of(passages), places)))
