"""Label arithmetic with the scores given: filters, negatives and margins, ours on one thread
against pandas, and against Polars, lazy and streaming, on all of them."""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shardrank.core.settings import LabelSettings
from shardrank.labels.formats import get_format
from shardrank.labels.scored import Scored, mix
from tests.bench.harness import Benchmark, Contender, Duel

CANDIDATES, BLOCK = 50, 4096
SETTINGS = LabelSettings(near_duplicate=None, margin=0.5, ceiling=6.0, first_rank=2, negatives=8)

#: positive's row, negative's row and margin.
Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]


def benchmark(pairs: int) -> Benchmark:
    """So many (query, passage) pairs, 50 a query, of which two are positives."""
    table = make_table(pairs // CANDIDATES)
    contenders = [
        Contender("pandas", lambda: with_pandas(table), 0),
        Contender("shardrank", lambda: with_ours(table), 0),
    ]
    duels = [Duel("shardrank", "pandas", floor=3, goal=6)]
    if find_spec("polars"):
        contenders.append(Contender("Polars", polars_script(table), 0))
        duels.append(Duel("shardrank", "Polars", floor=1.2, goal=2))
    else:
        print("Polars is not measured: it is absent.")
    return Benchmark("labels", "pairs", pairs, contenders, duels, distance)


def make_table(queries: int) -> pd.DataFrame:
    """What both get: query, rank, whether it is positive, the teacher's score."""
    rng = np.random.default_rng(0)
    rows = queries * CANDIDATES
    rank = np.tile(np.arange(1, CANDIDATES + 1), queries)
    # Positives near the head, and better scored; all scores differ.
    positive = (rank == 1) | (rank == 1 + rng.integers(1, CANDIDATES, queries).repeat(CANDIDATES))
    score = rng.normal(size=rows) - 0.05 * rank + 2.0 * positive
    return pd.DataFrame(
        {
            "query": np.repeat(np.arange(queries), CANDIDATES).astype(np.int32),
            "rank": rank.astype(np.int32),
            "positive": positive,
            "score": score.astype(np.float32),
        }
    )


def with_pandas(table: pd.DataFrame) -> Pairs:
    """As a script would: join positives with the rest, filter, take the best of each positive."""
    table = table.reset_index(names="row")
    positives = table.loc[table["positive"], ["query", "row", "score"]]
    others = table.loc[~table["positive"]]
    pairs = positives.merge(others, on="query", suffixes=("_p", "_n"))
    pairs = pairs[pairs["rank"] >= 2]
    pairs = pairs[pairs["score_n"] <= 6.0]
    pairs = pairs[pairs["score_n"] <= pairs["score_p"] - np.float32(0.5)]
    pairs = pairs.sort_values(["row_p", "score_n"], ascending=[True, False])
    pairs = pairs.groupby("row_p").head(8)
    margin = (pairs["score_p"] - pairs["score_n"]).to_numpy(np.float32)
    return pairs["row_p"].to_numpy(), pairs["row_n"].to_numpy(), margin


def polars_script(table: pd.DataFrame) -> Any:
    """The same with a frame of Polars's own, by what is its fastest way to the best of each group:
    its streaming engine and ranks within windows took 135 ms of processor time for a million pairs,
    sorting and taking heads 223."""
    import polars as pl

    return partial(with_polars, pl.from_pandas(table))


def with_polars(table: Any) -> Pairs:
    """One lazy query: join, filter, rank within each positive."""
    import polars as pl

    rows = table.lazy().with_row_index("row")
    positives = rows.filter("positive").select("query", row_p="row", score_p="score")
    others = rows.filter(~pl.col("positive"), pl.col("rank") >= 2, pl.col("score") <= 6.0)
    margin = pl.col("score_p") - pl.lit(0.5, pl.Float32)
    pairs = positives.join(others, on="query").filter(pl.col("score") <= margin)
    place = pl.col("score").rank("ordinal", descending=True).over("row_p")
    pairs = pairs.filter(place <= 8).sort(["row_p", "score"], descending=[False, True])
    found = pairs.select("row_p", "row", pl.col("score_p") - pl.col("score")).collect(
        engine="streaming"
    )
    left, right, margins = (column.to_numpy() for column in found)
    return left.astype(np.int64), right.astype(np.int64), margins


def with_ours(table: pd.DataFrame) -> Pairs:
    """Block by block, as the export stage does."""
    form, found = get_format("margin-mse"), []
    for begin, scored in blocks(table):
        rows = form.build(scored, SETTINGS)
        assert rows.labels is not None
        left, right = rows.passages.reshape(-1, 2).T + begin
        found.append((left, right, rows.labels))
    left, right, margin = (np.concatenate(column) for column in zip(*found, strict=True))
    return left, right, margin


def blocks(table: pd.DataFrame) -> Iterator[tuple[int, Scored]]:
    """The table's query blocks as arrays, and the row at which each begins."""
    columns = {name: table[name].to_numpy() for name in table}
    for begin in range(0, len(table), BLOCK * CANDIDATES):
        part = {name: v[begin : begin + BLOCK * CANDIDATES] for name, v in columns.items()}
        number = np.arange(len(part["query"]), dtype=np.uint64)
        yield (
            begin,
            Scored(
                query=part["query"],
                query_key=mix(part["query"].astype(np.uint64)),
                key=mix(number),
                origin=np.zeros(len(number), np.int8),
                rank=part["rank"],
                retrieval=part["score"],
                positive=part["positive"],
                judged=part["positive"],
                weak=np.zeros(len(number), np.bool_),
                score=part["score"],
            ),
        )


def distance(wanted: Pairs, found: Pairs) -> float:
    """The share of pairs that differ; order and margins count."""
    if len(wanted[0]) != len(found[0]):
        return 1.0
    same = np.all([w == f for w, f in zip(wanted, found, strict=True)], axis=0)
    return 1.0 - float(same.mean())
