"""Metrics of rankings against judgements, by ir-measures, a few queries at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import ir_measures
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Float64, Int64
from shardrank.core.errors import InputError
from shardrank.core.evaluate_settings import DEFAULT_METRICS
from shardrank.core.evaluation import Judgement, PerQuery
from shardrank.core.measures import alone, measure

#: Rows of rankings that are handed to ir-measures at once, but for a query's that are more.
ROWS = 1 << 16

#: A query → a document → its grade.
Grades = Mapping[str, Mapping[str, int]]


def evaluate(
    blocks: Iterable[pa.Table],
    judgements: Sequence[Judgement],
    metrics: Sequence[str] = DEFAULT_METRICS,
    ignore_same_id: bool = False,
) -> dict[str, dict[str, float]]:
    """Means over the judged queries of what `per_query` gives; arguments and errors are the same.

    Returns:
        `{"retrieved": {metric: mean}, "reranked": {…}}`.
    """
    return per_query(blocks, judgements, metrics, ignore_same_id).means()


def per_query(
    blocks: Iterable[pa.Table],
    judgements: Sequence[Judgement],
    metrics: Sequence[str] = DEFAULT_METRICS,
    ignore_same_id: bool = False,
) -> PerQuery:
    """Metrics of each judged query; of one without a ranking what ir-measures gives it, which is 0.

    A ranked query without judgements is left out.

    Args:
        blocks: tables of schema RANKINGS, of which no two share a query; rows in any order, a
            document once for each query. One is in memory at a time.
        judgements: what is relevant to what, each pair once.
        metrics: names that `measure` knows.
        ignore_same_id: pass over documents with their query's own id; those below move up.

    Returns:
        values of the order "retrieved", by `retrieval_rank`, and of "reranked", by `rank`, where
        some `rerank_score` is not null.

    Raises:
        InputError: no query is both ranked and judged, or a metric cannot be computed.
    """
    measuring = _Measuring(_grades(judgements), tuple(metrics))
    for block in blocks:
        measuring.add(block, ignore_same_id)
    return measuring.result()


def _grades(judgements: Sequence[Judgement]) -> Grades:
    grades: dict[str, dict[str, int]] = {}
    for judgement in judgements:
        grades.setdefault(judgement.query_id, {})[judgement.doc_id] = judgement.relevance
    return grades


def pieces(block: pa.Table) -> Iterator[pa.Table]:
    """RANKINGS with the rows of each query together, cut between queries into pieces of about
    ROWS; queries in the order in which they first occur."""
    numbers = block["query_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    cuts = np.unique(np.searchsorted(starts, np.arange(0, len(numbers), ROWS)))
    ends = [*starts[cuts[cuts < len(starts)]].tolist(), len(numbers)]
    sorted_rows = block.take(order)
    return (sorted_rows.slice(low, high - low) for low, high in pairwise(ends))


@dataclass(frozen=True)
class _Calculation:
    """Metrics that ir-measures computes in one go, each by its measure."""

    measures: Mapping[str, Any]

    def values(
        self, grades: Grades, run: Mapping[str, Mapping[str, float]]
    ) -> dict[tuple[str, str], float]:
        """(query, metric) → value. Queries are numbered for ir-measures: gdeval, which it takes for
        ERR, reads no other names, and of ids with a hyphen wrong ones without a word."""
        names, numbers = list(self.measures), {q: str(n) for n, q in enumerate(grades, 1)}
        judged = {numbers[q]: of for q, of in grades.items()}
        ranked = {numbers[q]: of for q, of in run.items() if q in numbers}
        try:
            found = {
                (each.query_id, each.measure): float(each.value)
                for each in ir_measures.iter_calc(set(self.measures.values()), judged, ranked)
            }
        except Exception as error:  # each of the libraries below ir-measures raises its own
            raise InputError(
                f"{', '.join(names)} cannot be computed with these judgements: {error}.",
                "Leave out of evaluate.metrics what cannot. What is ranked is kept.",
            ) from error
        return {(q, n): found[numbers[q], m] for n, m in self.measures.items() for q in grades}


class _Measuring:
    """Values of judged queries, gathered a block of the rankings at a time."""

    def __init__(self, grades: Grades, metrics: tuple[str, ...]) -> None:
        self._grades, self._metrics = grades, metrics
        self._wanted = pa.array(grades, pa.string())
        together = {name: measure(name) for name in metrics if not alone(name)}
        apart = [{name: measure(name)} for name in metrics if alone(name)]
        self._calculations = [_Calculation(each) for each in (together, *apart) if each]
        self._queries: list[str] = []
        self._retrieved: list[Float64] = []
        self._reranked: list[Float64] = []
        self._orders: dict[str, list[Float64]] = {"retrieved": self._retrieved}
        self._met = False
        self._example = "none"

    def add(self, block: pa.Table, ignore_same_id: bool) -> None:
        """Measures those queries of a block that are judged."""
        if self._example == "none" and block.num_rows:
            self._example = repr(block["query_id"][0].as_py())
        judged = block.filter(pc.is_in(block["query_id"], self._wanted))
        self._met |= judged.num_rows > 0
        if judged["rerank_score"].null_count < judged.num_rows:
            self._orders["reranked"] = self._reranked
        if ignore_same_id:
            judged = judged.filter(pc.not_equal(judged["query_id"], judged["doc_id"]))
        for piece in pieces(judged):
            self._measure(piece)

    def _measure(self, piece: pa.Table) -> None:
        """Measures whole rankings in both orders."""
        ids = piece["query_id"].to_pylist()
        queries = list(dict.fromkeys(ids))
        # By numbers, since some of the libraries read files, in which an id is one word.
        numbers = {query: str(number) for number, query in enumerate(queries, 1)}
        asked, words = [numbers[query] for query in ids], _Words()
        docs = [words.number(doc) for doc in piece["doc_id"].to_pylist()]
        grades = {
            numbers[query]: {words.number(d): grade for d, grade in self._grades[query].items()}
            for query in queries
        }
        before, after = (piece[name].to_numpy() for name in ("retrieval_rank", "rank"))
        retrieved = self._values(grades, _run(asked, docs, before))
        same = np.array_equal(before, after)
        self._queries += queries
        self._retrieved.append(retrieved)
        self._reranked.append(retrieved if same else self._values(grades, _run(asked, docs, after)))

    def _values(self, grades: Grades, run: Mapping[str, Mapping[str, float]]) -> Float64:
        """A row a query, a column a metric."""
        found: dict[tuple[str, str], float] = {}
        for calculation in self._calculations:
            found |= calculation.values(grades, run)
        rows = [[found[query, name] for name in self._metrics] for query in grades]
        return np.array(rows, np.float64)

    def result(self) -> PerQuery:
        """With the judged queries that no block held."""
        if not self._met:
            raise _strangers(self._example, self._grades)
        there = set(self._queries)
        others = [query for query in self._grades if query not in there]
        default = [float(measure(name).DEFAULT) for name in self._metrics]
        rest = np.tile(default, (len(others), 1))
        values = {
            order: dict(zip(self._metrics, np.concatenate([*rows, rest]).T, strict=True))
            for order, rows in self._orders.items()
        }
        return PerQuery([*self._queries, *others], len(self._queries), values)


class _Words:
    """Numbers for documents' ids."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def number(self, doc_id: str) -> str:
        return self._numbers.setdefault(doc_id, str(len(self._numbers)))


def _run(queries: Sequence[str], docs: Sequence[str], ranks: Int64) -> dict[str, dict[str, float]]:
    # −rank and not the score: scores tie, and each measure would break the ties its own way.
    run: dict[str, dict[str, float]] = {}
    for query, doc, rank in zip(queries, docs, ranks.tolist(), strict=True):
        run.setdefault(query, {})[doc] = -float(rank)
    return run


def _strangers(ranked: str, grades: Grades) -> InputError:
    judged = repr(next(iter(grades))) if grades else "none"
    return InputError(
        f"None of the ranked queries has a judgement: the rankings hold query ids such as {ranked},"
        f" the judgements such as {judged} ({len(grades)} queries).",
        "Give the judgements that belong to these queries.",
    )
