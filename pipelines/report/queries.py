"""The report's queries: what each gets, how far its documents moved, and which are worth a look."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from shardrank.core.arrays import Bool, Float64, Int64
from shardrank.core.evaluation import PerQuery
from shardrank.report.figures import snippet

#: Queries of the table, at most; of a list of the best or worst; and documents whose moves count.
LIMIT, LISTED, FIRST = 10_000, 10, 10
#: Columns of the rankings that `moves` reads.
MOVES = ("query_id", "rank", "retrieval_rank", "rerank_score")


@dataclass(frozen=True, eq=False)
class Moves:
    """How reranking changed each query's first documents.

    Attributes:
        queries: string[n].
        moved: places that each of the first moved, up or down, as a mean.
        fresh: how many of the first were not among the first as retrieved.
        reranked: whether anything was.
    """

    queries: pa.Array
    moved: Float64
    fresh: Int64
    reranked: bool


@dataclass(frozen=True)
class QueryRow:
    """A query, its metrics as retrieved and as reranked (empty: none), and its moves."""

    query_id: str
    text: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    moved: float
    fresh: int


@dataclass(frozen=True)
class Effect:
    """Of how many queries reranking raises a metric, leaves it as it was, and lowers it."""

    metric: str
    helped: int
    same: int
    hurt: int


@dataclass(frozen=True)
class QueryList:
    """The first queries by one thing."""

    title: str
    rows: tuple[QueryRow, ...]


@dataclass(frozen=True)
class QueryTable:
    """What the page shows of single queries.

    Attributes:
        metrics: of the rows, in order; empty without judgements.
        reranked: whether anything was.
        rows: the table's, LIMIT at most.
        total: queries of which those are the chosen ones.
        lists: the worst, the best, and what reranking hurts and helps most, by the first metric.
        effects: of reranking, for each metric.
    """

    metrics: tuple[str, ...]
    reranked: bool
    rows: tuple[QueryRow, ...]
    total: int
    lists: tuple[QueryList, ...] = ()
    effects: tuple[Effect, ...] = ()

    def as_json(self) -> Markup:
        """The rows, column by column, as JSON that ends no element of HTML."""
        places = range(len(self.metrics))
        columns = {
            "metrics": self.metrics,
            "reranked": self.reranked,
            "id": [row.query_id for row in self.rows],
            "text": [row.text for row in self.rows],
            "before": [[round(row.before[at], 5) for row in self.rows] for at in places],
            "after": [[round(row.after[at], 5) for row in self.rows] for at in places]
            if self.reranked
            else [],
            "moved": [round(row.moved, 2) for row in self.rows],
            "fresh": [row.fresh for row in self.rows],
        }
        dumps = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))
        return htmlsafe_json_dumps(columns, dumps=dumps)


def moves(blocks: Iterable[pa.Table]) -> Moves:
    """Of rankings (columns MOVES), of which no two tables share a query."""
    found, reranked = [], False
    for block in blocks:
        reranked |= block["rerank_score"].null_count < block.num_rows
        top = block.filter(pc.less_equal(block["rank"], FIRST))
        far = pc.abs(pc.subtract(top["retrieval_rank"], top["rank"]))
        fresh = pc.cast(pc.greater(top["retrieval_rank"], FIRST), pa.int64())
        table = pa.table({"query_id": top["query_id"], "moved": far, "fresh": fresh})
        sums = table.group_by("query_id", use_threads=False)
        found.append(sums.aggregate([("moved", "mean"), ("fresh", "sum")]))
    if not found:
        return Moves(pa.array([], pa.string()), np.zeros(0), np.zeros(0, np.int64), False)
    table = pa.concat_tables(found).combine_chunks()
    queries = pa.concat_arrays(table["query_id"].chunks)
    return Moves(queries, table["moved_mean"].to_numpy(), table["fresh_sum"].to_numpy(), reranked)


def query_table(texts: pa.Table, moved: Moves, measured: PerQuery | None) -> QueryTable | None:
    """What is worth showing of single queries; None where nothing was judged or reranked.

    Args:
        texts: query_id and text of all queries.
        moved: of the ranked ones.
        measured: the metrics of the judged ones.
    """
    if measured:
        return _Rows(texts, moved, measured).table()
    if not (moved.reranked and len(moved.queries)):
        return None
    nothing = PerQuery(moved.queries.to_pylist(), len(moved.queries), {"retrieved": {}})
    return _Rows(texts, moved, nothing).table()


class _Rows:
    """Judged and ranked queries (without judgements all ranked ones) as arrays of one order."""

    def __init__(self, texts: pa.Table, moved: Moves, measured: PerQuery) -> None:
        self._texts = texts
        self._ids = pa.array(measured.queries[: measured.ranked], pa.string())
        at = pc.index_in(self._ids, moved.queries).to_numpy()
        self._moved, self._fresh, self._reranked = moved.moved[at], moved.fresh[at], moved.reranked
        self._metrics = tuple(measured.values["retrieved"])
        cut = {
            order: [values[: measured.ranked] for values in by_name.values()]
            for order, by_name in measured.values.items()
        }
        self._before, self._after = cut["retrieved"], cut.get("reranked", [])

    def table(self) -> QueryTable:
        total = len(self._ids)
        chosen = np.sort(self._first(*self._interest(), count=LIMIT))
        return QueryTable(
            metrics=self._metrics,
            reranked=bool(self._after) or (self._reranked and not self._metrics),
            rows=self._rows(chosen),
            total=total,
            lists=tuple(self._lists()),
            effects=tuple(self._effects()),
        )

    def _interest(self) -> Sequence[Float64]:
        """What decides which queries are shown, the lowest first."""
        if not self._metrics:
            return (-self._moved,)
        if self._after:
            return -np.abs(self._change), -self._moved
        return (self._before[0],)

    @property
    def _change(self) -> Float64:
        return self._after[0] - self._before[0]

    def _first(self, *keys: Float64, count: int, among: Bool | None = None) -> Int64:
        """The queries with the lowest keys; of equal ones those that were asked first."""
        order = np.lexsort(keys[::-1])
        return order[:count] if among is None else order[among[order]][:count]

    def _lists(self) -> Iterable[QueryList]:
        if not self._metrics:
            return
        name, last = self._metrics[0], (self._after or self._before)[0]
        by: dict[str, tuple[Float64, Bool | None]] = {
            f"Lowest {name}": (last, None),
            f"Highest {name}": (-last, None),
        }
        if self._after:
            change = self._change
            by[f"Hurt most by reranking, in {name}"] = (change, change < 0)
            by[f"Helped most by reranking, in {name}"] = (-change, change > 0)
        for title, (key, among) in by.items():
            rows = self._rows(self._first(key, -self._moved, count=LISTED, among=among))
            if rows:
                yield QueryList(title, rows)

    def _effects(self) -> Iterable[Effect]:
        for name, before, after in zip(self._metrics, self._before, self._after, strict=False):
            helped, hurt = int((after > before).sum()), int((after < before).sum())
            yield Effect(name, helped, len(before) - helped - hurt, hurt)

    def _rows(self, chosen: Int64) -> tuple[QueryRow, ...]:
        ids = self._ids.take(pa.array(chosen))
        texts = self._texts["text"].take(pc.index_in(ids, self._texts["query_id"]))
        return tuple(
            QueryRow(
                query_id=query_id,
                text=snippet(text),
                before=tuple(float(values[at]) for values in self._before),
                after=tuple(float(values[at]) for values in self._after),
                moved=float(self._moved[at]),
                fresh=int(self._fresh[at]),
            )
            for at, query_id, text in zip(
                chosen.tolist(), ids.to_pylist(), texts.to_pylist(), strict=True
            )
        )
