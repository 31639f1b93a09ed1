"""mine: which (query, passage) pairs the teachers shall score, one query block a unit.

The first documents of each ranking; judged positives that retrieval missed, with all their
passages (the teachers' best one counts); and negatives drawn from the index and from other
queries' positives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.labels.draw import draw
from pipelines.core.labels.schemas import CANDIDATES
from pipelines.core.labels.scored import Origin, UInt64, mix, within_runs
from pipelines.core.protocols import Bool, Int32
from pipelines.core.settings import LabelSettings
from pipelines.core.topk import ranks
from pipelines.core.units import Done, FileRef, Unit
from pipelines.corpus.scan import id_hash
from pipelines.stages.locate import read_located
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sample import read_sample
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace

#: Settings that decide what is mined; the others act on the scores.
DECIDING = ("depth", "min_grade", "random_negatives", "batch_negatives", "seed")


@dataclass(frozen=True)
class Mining:
    """What mining reads: of the ranked run, its blocks (queries, vectors, hits) and its scores;
    of the label run, judgements by block, where positives lie, and the drawn pool."""

    out: Workspace
    blocks: Sequence[Mapping[str, FileRef]]
    scores: Sequence[FileRef]
    judged: Sequence[FileRef]
    located: Sequence[FileRef]
    pool: Sequence[FileRef]


def mine(context: Context, mining: Mining) -> list[Done]:
    """One marker a block: output "candidates", "unscored" are those without the run's own logit;
    facts "pairs" and "unscored" count both by part."""
    common = {
        "scores": [ref.json() for ref in mining.scores],
        "located": [ref.json() for ref in mining.located],
        "pool": [ref.json() for ref in mining.pool],
        "settings": context.settings.label.model_dump(mode="json", include=set(DECIDING)),
    }
    units = [
        Unit(
            "mine",
            {
                "block": number,
                "queries": block["queries"].json(),
                "hits": block["hits"].json(),
                "judged": judged.json(),
                **common,
            },
        )
        for number, (block, judged) in enumerate(zip(mining.blocks, mining.judged, strict=True))
    ]
    return run_stage(context, "mine", units, [Step(partial(Mine, context.workspace, mining.out))])


@dataclass(frozen=True)
class Mine:
    """A query block → CANDIDATES."""

    workspace: Workspace
    out: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        block = Block.read(self.workspace, self.out, unit.spec)
        table = candidates(block, LabelSettings(**unit.spec["settings"]))
        unscored = table.filter(pc.is_null(table["logit"]))
        outputs = {
            name: self.workspace.write_scratch(unit, f"{name}.parquet", found)
            for name, found in (("candidates", table), ("unscored", unscored))
        }
        facts = {"pairs": _by_part(table), "unscored": _by_part(unscored)}
        return Result(outputs, {"rows": table.num_rows, "unscored": unscored.num_rows}, facts)


@dataclass(frozen=True)
class Block:
    """A block's tables: query ids, hits, the run's logits, judgements, positions, pool."""

    query_ids: list[str]
    hits: pa.Table
    logits: pa.Table
    judged: pa.Table
    located: pa.Table
    pool: pa.Table

    @classmethod
    def read(cls, workspace: Workspace, out: Workspace, spec: Mapping[str, Any]) -> "Block":
        queries = out.read_table(FileRef.parse(spec["queries"]), ["query_id"])
        tables = (out.read_table(FileRef.parse(ref)) for ref in spec["scores"])
        mine = [t.filter(pc.equal(t["block"], spec["block"])).drop_columns("block") for t in tables]
        return cls(
            query_ids=queries["query_id"].to_pylist(),
            hits=out.read_table(FileRef.parse(spec["hits"])),
            logits=pa.concat_tables([_LOGITS.empty_table(), *(t.cast(_LOGITS) for t in mine)]),
            judged=workspace.read_table(FileRef.parse(spec["judged"])),
            located=read_located(workspace, [FileRef.parse(ref) for ref in spec["located"]]),
            pool=_read_pool(workspace, spec["pool"]),
        )


_LOGITS = pa.schema(
    [
        pa.field("query", pa.int32()),
        pa.field("part", pa.int32()),
        pa.field("row", pa.int32()),
        pa.field("logit", pa.float32()),
        pa.field("truncated", pa.bool_()),
    ]
)


def _read_pool(workspace: Workspace, refs: Sequence[Mapping[str, Any]]) -> pa.Table:
    if not refs:
        return pa.table({"part": pa.array([], pa.int32()), "row": pa.array([], pa.int32())})
    sample = read_sample(workspace, [FileRef.parse(ref) for ref in refs])
    return sample.select(["part", "row"])


def candidates(block: Block, settings: LabelSettings) -> pa.Table:
    """CANDIDATES of a block, by query, then origin, rank and place."""
    near = block.hits.append_column("rank", pa.array(ranks(block.hits)))
    near = near.filter(pc.less_equal(near["rank"], settings.depth))
    positives = _positives(block, settings)
    pieces = [_retrieved(block, near), _missed(positives, near)]
    if settings.random_negatives:
        pieces.append(_random(block, near, positives, settings))
    if settings.batch_negatives:
        pieces.append(_batch(block, near, positives, settings))
    table = pa.concat_tables(pieces)
    order = [(name, "ascending") for name in ("query", "origin", "rank", "part", "row")]
    return table.sort_by(order).combine_chunks()


def _positives(block: Block, settings: LabelSettings) -> pa.Table:
    """query, doc_id, grade, part, row, rows of the positives that the index holds."""
    judged = block.judged.filter(pc.greater_equal(block.judged["grade"], settings.min_grade))
    joined = judged.join(block.located, "doc_id", join_type="inner")
    return joined.sort_by([("query", "ascending"), ("doc_id", "ascending")]).combine_chunks()


def _retrieved(block: Block, near: pa.Table) -> pa.Table:
    names = ["query", "part", "row", "doc_id", "rank"]
    table = near.select(names).append_column("retrieval", near["score"])
    table = table.join(block.judged, ["query", "doc_id"], join_type="left outer")
    table = table.join(block.logits, ["query", "part", "row"], join_type="left outer")
    origin = np.full(table.num_rows, Origin.RETRIEVED, dtype=np.int8)
    return table.append_column("origin", pa.array(origin)).select(CANDIDATES.names).cast(CANDIDATES)


def _missed(positives: pa.Table, near: pa.Table) -> pa.Table:
    """All passages of positives that are not among the first of their query's ranking."""
    known = near.select(["query", "doc_id"])
    found = positives.join(known, ["query", "doc_id"], join_type="left anti")
    lengths = found["rows"].to_numpy()
    repeated = found.take(pa.array(np.repeat(np.arange(found.num_rows), lengths)))
    rows = repeated["row"].to_numpy() + within_runs(lengths).astype(np.int32)
    return _made(repeated["query"], repeated["part"], rows, Origin.POSITIVE, repeated["grade"])


def _random(block: Block, near: pa.Table, positives: pa.Table, settings: LabelSettings) -> pa.Table:
    """From the pool, but nothing that the query has, and no passage of its positives."""
    parts, rows = block.pool["part"].to_numpy(), block.pool["row"].to_numpy()
    banned = np.zeros((len(block.query_ids), len(rows)), np.bool_)
    _ban_places(banned, near, parts, rows)
    for p in positives.select(["query", "part", "row", "rows"]).to_pylist():
        inside = (parts == p["part"]) & (rows >= p["row"]) & (rows < p["row"] + p["rows"])
        banned[p["query"]] |= inside
    keys = mix(_joint(parts, rows) ^ np.uint64(settings.seed))
    query, at = draw(_query_keys(block), keys, banned, settings.random_negatives)
    return _made(pa.array(query, pa.int32()), parts[at], rows[at], Origin.RANDOM, None)


def _batch(block: Block, near: pa.Table, positives: pa.Table, settings: LabelSettings) -> pa.Table:
    """The first passages of other queries' positives, as in-batch negatives would give them."""
    first = positives.group_by(["part", "row"]).aggregate([])
    first = first.sort_by([("part", "ascending"), ("row", "ascending")])
    parts, rows = first["part"].to_numpy(), first["row"].to_numpy()
    banned = np.zeros((len(block.query_ids), len(rows)), np.bool_)
    for table in (near, positives):
        _ban_places(banned, table, parts, rows)
    keys = mix(~_joint(parts, rows) ^ np.uint64(settings.seed))
    query, at = draw(_query_keys(block), keys, banned, settings.batch_negatives)
    return _made(pa.array(query, pa.int32()), parts[at], rows[at], Origin.BATCH, None)


def _ban_places(banned: Bool, table: pa.Table, parts: Int32, rows: Int32) -> None:
    """No query gets what `table` has for it: (query, part, row)."""
    wanted, pool = _joint(table["part"].to_numpy(), table["row"].to_numpy()), _joint(parts, rows)
    if not len(pool):
        return
    order = np.argsort(pool)
    at = np.minimum(np.searchsorted(pool[order], wanted), len(pool) - 1)
    same = pool[order][at] == wanted
    banned[table["query"].to_numpy()[same], order[at[same]]] = True


def _made(
    query: pa.Array, part: pa.Array, row: pa.Array, origin: Origin, grade: pa.Array | None
) -> pa.Table:
    """CANDIDATES that the ranked run knows nothing of."""
    size = len(query)
    unknown = [CANDIDATES.field(name).type for name in ("retrieval", "logit", "truncated")]
    columns = [
        query,
        part,
        row,
        np.full(size, origin, dtype=np.int8),
        np.zeros(size, dtype=np.int32),
        pa.nulls(size, pa.int32()) if grade is None else grade,
        *(pa.nulls(size, kind) for kind in unknown),
    ]
    return pa.Table.from_arrays([_flat(column) for column in columns], schema=CANDIDATES)


def _flat(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks()
    return column if isinstance(column, pa.Array) else pa.array(column)


def _query_keys(block: Block) -> UInt64:
    return np.array([id_hash(name) for name in block.query_ids], dtype=np.uint64)


def _joint(parts: Int32, rows: Int32) -> UInt64:
    joint: UInt64 = (parts.astype(np.uint64) << np.uint64(32)) | rows.astype(np.uint64)
    return joint


def _by_part(table: pa.Table) -> dict[str, int]:
    return {str(row["values"]): row["counts"] for row in table["part"].value_counts().to_pylist()}
