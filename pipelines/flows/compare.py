"""Two rankings of the same queries: how much alike they are, and which is better by judgements."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Float64
from shardrank.core.errors import InputError
from shardrank.core.evaluation import Judgement, PerQuery
from shardrank.core.measured import per_query
from shardrank.core.overlap import Overlap, overlap
from shardrank.core.paired import Paired, paired
from shardrank.core.settings import Settings
from shardrank.corpus.qrels import read_judged
from shardrank.stages.run.workspace import StoredTables, Workspace
from shardrank.stages.shared.ranked_runs import RankedRun, read_ranked
from shardrank.storage import Sources


@dataclass(frozen=True)
class JudgedCounts:
    """What became of the judged queries.

    Attributes:
        compared: asked in both runs.
        hitless: of those the ones without a ranking in the first run, and in the second; they count
            as 0 there.
        alone: asked in the first run only, and in the second only; left out.
        unasked: asked in neither; left out.
    """

    compared: int
    hitless: tuple[int, int]
    alone: tuple[int, int]
    unasked: int


@dataclass(frozen=True)
class Compared:
    """What comes of comparing two rankings.

    Attributes:
        metrics: each one's comparison, second less first; empty without judgements.
        judged: what became of the judged queries; None without judgements.
        asked: queries of both runs, of the first only, and of the second only.
        ranked: queries with a ranking in both, for which overlap is known.
        overlap: means over those of the share of the first 10 documents that both hold, and of
            rank-biased overlap.
        k: documents that a query has at most, in the run that has fewer.
        table: a row for each query of both runs, in the first one's order: query_id, text,
            overlap@10, rbo, and of each metric "NAME 1", "NAME 2" and "NAME difference"; null where
            a query is not ranked by both, or not judged.
    """

    metrics: tuple[Paired, ...]
    judged: JudgedCounts | None
    asked: tuple[int, int, int]
    ranked: int
    overlap: tuple[float, float]
    k: int
    table: pa.Table


@dataclass(frozen=True)
class _Run:
    """A finished ranking, and the queries of its blocks (query_id, text)."""

    out: Workspace
    ranked: RankedRun
    blocks: Sequence[pa.Table]

    @classmethod
    def read(cls, out: Workspace) -> "_Run":
        ranked = read_ranked(out)
        refs = [block.queries for block in ranked.blocks]
        return cls(out, ranked, [out.read_table(ref, ["query_id", "text"]) for ref in refs])

    @property
    def queries(self) -> pa.Table:
        return pa.concat_tables(self.blocks).combine_chunks()

    def finally_ranked(self) -> Iterator[pa.Table]:
        """The rankings, as if they had been retrieved in their last order."""
        for block in StoredTables(self.out, self.ranked.rankings):
            place = block.schema.get_field_index("retrieval_rank")
            yield block.set_column(place, block.schema.field(place), block["rank"])


def compare_runs(
    first: Workspace, second: Workspace, qrels: str | None, settings: Settings
) -> Compared:
    """The comparison of the rankings in two OUTs.

    Raises:
        InputError: one holds no finished ranking, they share no query, the judgements cannot be
            read, or judge none of the queries of both.
    """
    one, other = _Run.read(first), _Run.read(second)
    compared = _alike(one, other)
    if qrels is None:
        return compared
    asked = compared.table["query_id"].to_pylist()
    judgements = read_judged(Sources(settings.s3).open, qrels, asked)
    values = [_measured(run, asked, judgements, settings) for run in (one, other)]
    ids = [run.queries["query_id"] for run in (one, other)]
    compared = replace(compared, judged=_counts(values, ids, judgements))
    for name in settings.evaluate.metrics:
        compared = _with_metric(compared, name, *_aligned(values, name))
    return compared


def _alike(one: _Run, other: _Run) -> Compared:
    """How much alike two runs are."""
    mine, theirs = one.queries, other.queries
    table = mine.filter(pc.is_in(mine["query_id"], theirs["query_id"])).combine_chunks()
    if not table.num_rows:
        raise _strangers([one, other])
    same = _overlap(one, other)
    means = (float(same.first.mean()), float(same.rbo.mean())) if len(same.queries) else (0.0, 0.0)
    return Compared(
        metrics=(),
        judged=None,
        asked=(table.num_rows, mine.num_rows - table.num_rows, theirs.num_rows - table.num_rows),
        ranked=len(same.queries),
        overlap=means,
        k=min(run.ranked.settings.search.k for run in (one, other)),
        table=_with(table, same.queries, {"overlap@10": same.first, "rbo": same.rbo}),
    )


def _with_metric(
    compared: Compared, name: str, queries: pa.Array, one: Float64, other: Float64
) -> Compared:
    columns = {f"{name} 1": one, f"{name} 2": other, f"{name} difference": other - one}
    return replace(
        compared,
        metrics=(*compared.metrics, paired(name, one, other)),
        table=_with(compared.table, queries, columns),
    )


def _strangers(runs: Sequence[_Run]) -> InputError:
    roots = [run.out.storage.root for run in runs]
    ids = [repr(run.queries["query_id"][0].as_py()) for run in runs]
    return InputError(
        f"{roots[0]} and {roots[1]} share no query: one has ids such as {ids[0]}, the other such as"
        f" {ids[1]}.",
        "Compare rankings of the same queries.",
    )


def _overlap(one: _Run, other: _Run) -> Overlap:
    """Of the queries that both rank, a block of the first run at a time."""
    theirs, found = other.queries["query_id"], []
    ends = np.cumsum([block.num_rows for block in other.blocks])
    for block, ref in zip(one.blocks, one.ranked.rankings, strict=True):
        places = pc.index_in(block["query_id"], theirs).drop_null().to_numpy()
        numbers = np.unique(np.searchsorted(ends, places, side="right")).tolist()
        if not numbers:
            continue
        refs = [other.ranked.rankings[number] for number in numbers]
        columns = ("query_id", "doc_id", "rank")
        [mine] = StoredTables(one.out, [ref], columns)
        found.append(overlap(mine, pa.concat_tables(StoredTables(other.out, refs, columns))))
    return Overlap(
        pa.concat_arrays([each.queries for each in found]),
        np.concatenate([each.first for each in found]),
        np.concatenate([each.rbo for each in found]),
    )


def _measured(
    run: _Run, asked: Sequence[str], judgements: Sequence[Judgement], settings: Settings
) -> PerQuery:
    """Metrics of those judged queries that were asked in both runs."""
    shared = set(asked)
    mine = [judgement for judgement in judgements if judgement.query_id in shared]
    ignored = settings.search.ignore_same_id
    return per_query(run.finally_ranked(), mine, settings.evaluate.metrics, ignored)


def _aligned(values: Sequence[PerQuery], metric: str) -> tuple[pa.Array, Float64, Float64]:
    """The judged queries in the first run's order, and both values of each."""
    one, other = values
    queries = pa.array(one.queries, pa.string())
    at = pc.index_in(queries, pa.array(other.queries, pa.string())).to_numpy()
    mine, theirs = (each.values["retrieved"][metric] for each in values)
    return queries, mine, theirs[at]


def _counts(
    values: Sequence[PerQuery], ids: Sequence[pa.ChunkedArray], judgements: Sequence[Judgement]
) -> JudgedCounts:
    judged = {judgement.query_id for judgement in judgements}
    one, other = (judged.intersection(each.to_pylist()) for each in ids)
    without = [len(each.queries) - each.ranked for each in values]
    return JudgedCounts(
        compared=len(one & other),
        hitless=(without[0], without[1]),
        alone=(len(one - other), len(other - one)),
        unasked=len(judged - one - other),
    )


def _with(table: pa.Table, queries: pa.Array, columns: dict[str, Float64]) -> pa.Table:
    """The table with values of some of its queries."""
    at = pc.index_in(table["query_id"], queries)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.float64()).take(at.combine_chunks()))
    return table
