"""What a search by centroids spends its time on, and what leaving centroids out would save.

python -m tests.bench.token_costs FOLDER DATA/cranfield WEIGHTS/colbert

In seconds of the processor, on one thread, of codes of 2 bits. First what `TokenCosts` says beside
what is measured: the passages met by so many centroids probed, and how long a candidate and a
passage that is decoded and compared take. Then the threshold of PLAID (arXiv:2205.09707, section
4.4): the centroids of a candidate count only where one of the query's tokens is as near as that, as
a cosine. Recall is that of the 10 best by MaxSim of the vectors as they were.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from shardrank.core.arrays import Bool, Int16, Int32, Int64
from shardrank.index import plaid
from shardrank.index.documents import DocumentSearch, Reach, ShardHits
from shardrank.index.maxsim import CodedTokens, maxsim_of_column, maxsim_scores
from shardrank.kernels import plaid_loops as loops
from shardrank.kernels.centroid_lanes import WIDTH, largest_products
from shardrank.kernels.compiled import compiled
from shardrank.version.recall import TokenCosts
from tests.bench.late_given import Given, K, collected
from tests.bench.late_search import Ours, made_of

PROBES, DEPTHS = (1, 2, 4, 8, 16, 32), (10, 20, 50, 100, 200)
THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)
#: Of the threshold's table.
NPROBE, DEPTH = 4, 20
ROUNDS = 3
_LOW = (1 << 32) - 1


@compiled
def near_enough(near: Int16, floor: int, alive: Bool) -> int:
    """Which of the centroids int16[k, w] have a product of `floor` or more; returns how many."""
    count = 0
    for centroid in range(len(near)):
        most = near[centroid, 0]
        for token in range(1, near.shape[1]):
            most = max(most, near[centroid, token])
        alive[centroid] = most >= floor
        count += alive[centroid]
    return count


@compiled
def interact_some(
    near: Int16, alive: Bool, ends: Int64, centroids: Int32, found: Int32, keys: Int64
) -> None:
    """As `plaid_loops.interact`, of centroids that are alive."""
    flat, width, kept = near.reshape(-1), near.shape[1], np.empty(len(near), np.int32)
    for i in range(len(found)):
        count, total = 0, 0
        for place in range(ends[found[i]], ends[found[i] + 1]):
            kept[count] = centroids[place]
            count += alive[centroids[place]]
        for column in range(0, width if count else 0, WIDTH):
            total += largest_products(flat, width, column, kept, 0, count)
        keys[i] = (total << 32) | (_LOW - np.int64(found[i]))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.token_costs")
    parser.add_argument("folder", type=Path, help="of the collection's vectors")
    parser.add_argument("collection", type=Path)
    parser.add_argument("model", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    given = collected(asked.collection, asked.model, asked.folder)
    report(given, made_of(given.passages))


def report(given: Given, made: Ours) -> None:
    """Of codes that were made."""
    each = np.diff(made.lists.passage_ends).mean()
    tokens = np.diff(given.passages.ends).mean()
    print(f"{given.name}: {tokens:.0f} tokens, {each:.0f} centroids a passage")
    for row in chain(_met(given, made), _refined(given, made), _left_out(given, made)):
        print(row, flush=True)


def _met(given: Given, made: Ours) -> Iterator[str]:
    shard, queries = made.shard, given.queries
    costs = TokenCosts(shard.size, shard.nlist, queries.vectors.shape[1])
    yield "| probed | candidates | as TokenCosts | ms a query |"
    for nprobe in PROBES:
        met = (shard.search(queries, nprobe, shard.size) >= 0).mean()
        took = 1e3 * _seconds(partial(shard.search, queries, nprobe, 100)) / queries.rows
        yield f"| {nprobe} | {met:.3f} | {costs.met(nprobe):.3f} | {took:.3f} |"


def _refined(given: Given, made: Ours) -> Iterator[str]:
    """All queries at once, and one by one, where nothing is decoded for two."""
    yield "| decoded | µs a passage | one query at a time |"
    for depth in DEPTHS:
        hits = _search(made).find(given.queries, Reach(4, depth, K))
        runs = (partial(run, given, made, hits) for run in (_together, _alone))
        both = (1e6 * _seconds(run) / len(hits.positions) for run in runs)
        yield f"| {depth} | {' | '.join(f'{each:.2f}' for each in both)} |"


def _together(given: Given, made: Ours, hits: ShardHits) -> None:
    maxsim_of_column(given.queries, made.column, made.codec, hits.queries, hits.positions)


def _alone(given: Given, made: Ours, hits: ShardHits) -> None:
    """But without reading the codec again."""
    held = CodedTokens.of(made.column, made.codec)
    for n in range(given.queries.rows):
        mine, own = hits.of(n, n + 1), given.queries.of_rows(n, n + 1)
        maxsim_scores(own, held, mine.queries, mine.positions)


def _left_out(given: Given, made: Ours) -> Iterator[str]:
    """By NPROBE probes, of which DEPTH passages are decoded."""
    yield "| threshold | centroids kept | ms a query, all | candidates in order | recall |"
    for threshold in (None, *THRESHOLDS):
        spent, kept, found = np.zeros(2), [], []
        for _ in range(ROUNDS):
            run = _Run(made, threshold)
            began = time.process_time()
            found = [*run.candidates(given)]
            spent += time.process_time() - began, run.spent
            kept = run.kept
        all_of, order = 1e3 * spent / ROUNDS / given.queries.rows
        recall = 1 - given.missed(_best(given, made, np.array(found)))
        figures = f"{np.mean(kept):.3f} | {all_of:.3f} | {order:.3f} | {recall:.4f}"
        yield f"| {'none' if threshold is None else threshold} | {figures} |"


class _Run:
    """The search of a shard, step by step, with a threshold or none."""

    def __init__(self, made: Ours, threshold: float | None) -> None:
        self._made, self._threshold = made, threshold
        self.spent, self.kept = 0.0, [1.0]

    def candidates(self, given: Given) -> Iterator[Int64]:
        """int64[depth] of each query."""
        shard, lists = self._made.shard, self._made.lists
        desk = plaid._Desk.of(lists)
        for number, near, tokens in shard._near(given.queries):
            probed = np.empty((tokens, NPROBE), np.int32)
            loops.nearest(near, tokens, probed)
            count = loops.meet_passages(
                probed,
                lists.centroid_ends,
                lists.passages,
                plaid._ALL,
                number,
                desk.centroids,
                desk.passages,
                desk.found,
                0,
            )
            began = time.process_time()
            self._order(given, number, near, desk.found[:count], desk.keys[:count])
            self.spent += time.process_time() - began
            out = np.full(DEPTH, -1, np.int64)
            plaid._best(desk.keys[:count], out)
            yield out

    def _order(self, given: Given, number: int, near: Int16, found: Int32, keys: Int64) -> None:
        lists = self._made.lists
        if self._threshold is None:
            loops.interact(near, lists.passage_ends, lists.centroids, found, keys)
            return
        alive = np.empty(lists.count, np.bool_)
        floor = int(self._threshold * self._of_one(given, number))
        self.kept.append(near_enough(near, floor, alive) / lists.count)
        interact_some(near, alive, lists.passage_ends, lists.centroids, found, keys)

    def _of_one(self, given: Given, number: int) -> float:
        """The product that stands for a cosine of 1."""
        shard = self._made.shard
        tokens = plaid._rounded(given.queries.text(number))
        longest = np.sqrt(shard._longest * plaid._longest(tokens))
        return float(longest) / (1 << shard._shift(tokens))


def _best(given: Given, made: Ours, candidates: Int64) -> Int64:
    """int64[queries, K] of int64[queries, depth] candidates."""
    left, right = np.nonzero(candidates >= 0)[0], candidates[candidates >= 0]
    scores = np.full(candidates.shape, -np.inf, np.float32)
    scores[candidates >= 0] = maxsim_of_column(
        given.queries, made.column, made.codec, left.astype(np.int32), right.astype(np.int32)
    )
    order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return np.take_along_axis(candidates, order, axis=1)


def _search(made: Ours) -> DocumentSearch:
    return DocumentSearch(made.shard, np.arange(made.lists.rows, dtype=np.int32), None)


def _seconds(run: Callable[[], object]) -> float:
    """The least of the rounds."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return min(taken)


if __name__ == "__main__":
    main()
