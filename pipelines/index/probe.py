"""What the audit measures in one shard: the nearest documents, and by which score a search at each
effort finds them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from shardrank.core.arrays import Bool, Float32, Int32, Int64
from shardrank.core.protocols import Int8Product
from shardrank.core.topk import pack, top_order
from shardrank.index.blocks import PartBlock
from shardrank.index.documents import DocumentSearch, Reach, ShardHits
from shardrank.index.nearest import NearPairs, near_pairs
from shardrank.index.pairs import check_queries
from shardrank.kernels.document_loops import NEVER, look_up, raise_to
from shardrank.version.recall import NOWHERE, Grid, Probe

#: Passages of a document that are followed, the best ones: a search that finds it by none of them
#: counts as if it had not.
_FOLLOWED = 64

#: Passages for each document that is followed, beyond which they are sorted out before the end.
_UNSORTED = 4


@dataclass(frozen=True, eq=False)
class Passages:
    """Passages of a shard, each near to a query: all of one length.

    Attributes:
        queries: int32[m].
        documents: int32[m], numbered as they lie in the shard.
        positions: int32[m].
        scores: float32[m], exact.
    """

    queries: Int32
    documents: Int32
    positions: Int32
    scores: Float32

    @classmethod
    def none(cls) -> "Passages":
        whole = np.empty(0, np.int32)
        return cls(whole, whole, whole, np.empty(0, np.float32))

    def taken(self, which: Int64 | Bool) -> "Passages":
        return Passages(
            self.queries[which], self.documents[which], self.positions[which], self.scores[which]
        )

    def joined(self, others: Sequence["Passages"]) -> "Passages":
        every = [self, *others]
        return Passages(
            np.concatenate([each.queries for each in every]),
            np.concatenate([each.documents for each in every]),
            np.concatenate([each.positions for each in every]),
            np.concatenate([each.scores for each in every]),
        )

    def ordered(self, documents: int) -> "Passages":
        """The best passage of each of a query's nearest documents, best first: so many of them."""
        return self.taken(
            top_order(self.queries, self.documents, self.positions, self.scores, documents)
        )


@dataclass(frozen=True, eq=False)
class Nearest:
    """The exact nearest documents of Q queries in one shard.

    Attributes:
        scores: float32[Q, n], descending, of their best passages; -inf where there are fewer.
        passages: of these documents, those that score no less than a query's last one; in the order
            of queries.
        places: int64[m], which of its query's documents each passage is of.
    """

    scores: Float32
    passages: Passages
    places: Int64


def nearest_documents(
    queries: Float32,
    parts: Iterable[PartBlock],
    offsets: Sequence[int],
    documents: Int32,
    n: int,
    own: Int32,
    product: Int8Product,
) -> Nearest:
    """The n nearest documents of a shard, its parts loaded one at a time.

    Args:
        queries: float32[Q, d].
        parts: the shard's parts in its order.
        offsets: the position of each part's first row.
        documents: int32[positions], the document of each row.
        n: documents for each query.
        own: int32[Q], the document in this shard that a query is a passage of, or -1: a stored
            passage must find neither itself nor its neighbours in the text.

    Raises:
        InputError: a query vector is not finite.
    """
    check_queries(queries)
    each = (
        PartPairs(part.rows, partial(_near_pairs, queries, part, n + 1, product)) for part in parts
    )
    return nearest_by(len(queries), each, offsets, documents, n, own)


@dataclass(frozen=True, eq=False)
class PartPairs:
    """A part of so many rows, and what finds its pairs: float32[Q], scores under which none is
    wanted → pairs that hold each query's n + 1 best documents of the part."""

    rows: int
    near: Callable[[Float32], Iterable[NearPairs]]


def _near_pairs(
    queries: Float32, part: PartBlock, k: int, product: Int8Product, floor: Float32
) -> Iterable[NearPairs]:
    return near_pairs(queries, part, k, floor, product)


def nearest_by(
    queries: int,
    parts: Iterable[PartPairs],
    offsets: Sequence[int],
    documents: Int32,
    n: int,
    own: Int32,
) -> Nearest:
    """As `nearest_documents`, of so many queries, however pairs are found."""
    kept, best = Passages.none(), Passages.none()
    floor = np.full(queries, -np.inf, np.float32)
    for part, offset in zip(parts, offsets, strict=True):
        # One more than n, since a query's own document may be among them.
        scored = [
            _passages(near, documents[offset : offset + part.rows], offset)
            for near in part.near(floor)
        ]
        kept = kept.joined([each.taken(each.documents != own[each.queries]) for each in scored])
        best = kept.ordered(n)
        floor = _square(best, n, queries)[:, -1]
        kept = kept.taken(kept.scores >= floor[kept.queries])
        if len(kept.queries) > _UNSORTED * n * queries:
            kept = _near(kept, best)
    kept = _near(kept, best)
    return Nearest(_square(best, n, queries), kept, _places(kept, best))


def _passages(near: NearPairs, documents: Int32, offset: int) -> Passages:
    """Pairs of a part; documents int32[rows] of the part."""
    position = (near.rows + offset).astype(np.int32)
    return Passages(near.queries.astype(np.int32), documents[near.rows], position, near.scores)


def _near(kept: Passages, best: Passages) -> Passages:
    """Passages of the best documents, the best _FOLLOWED of each."""
    owners = pack(best.queries, best.documents)
    near = kept.taken(np.isin(pack(kept.queries, kept.documents), owners))
    document = pack(near.queries, near.documents)
    near = near.taken(np.lexsort((near.positions, -near.scores, document)))
    document = pack(near.queries, near.documents)
    rank = np.arange(len(document)) - np.searchsorted(document, document)
    return near.taken(rank < _FOLLOWED)


def _square(best: Passages, n: int, queries: int) -> Float32:
    """float32[Q, n] of one score a document."""
    scores = np.full((queries, n), -np.inf, np.float32)
    scores[best.queries, _ranks(best)] = best.scores
    return scores


def _places(passages: Passages, best: Passages) -> Int64:
    """int64[m]: the rank, from 0, of each passage's document among its query's best."""
    owners = pack(best.queries, best.documents)
    order = np.argsort(owners)
    found = np.searchsorted(owners, pack(passages.queries, passages.documents), sorter=order)
    return _ranks(best)[order[found]]


def _ranks(best: Passages) -> Int64:
    """int64[m]: places from 0 in what is in the order of queries."""
    return np.arange(len(best.queries)) - np.searchsorted(best.queries, best.queries)


def probe(search: DocumentSearch, queries: Any, near: Nearest, grid: Grid, least: int) -> Probe:
    """By which score a search at each effort finds the nearest documents.

    A stored passage finds its own document too, which takes a document's place in its search: the
    audit errs to the safe side.

    Args:
        search: of the shard.
        queries: float32[Q, d], or token vectors, as the shard is searched by.
        near: their nearest documents.
        grid: the efforts.
        least: documents that each query is given, whatever the effort.
    """
    depths, followed = np.array(grid.depths, np.int32), near.passages
    shape = (*near.scores.shape, len(grid.nprobes), len(depths))
    found = np.full(shape, NOWHERE, np.float32)
    hits = np.zeros(shape[2:], np.int64)
    reaches = [Reach(nprobe, grid.depths[-1], least) for nprobe in grid.nprobes]
    for column, met in enumerate(search.find_each(queries, reaches)):
        places = search.places(met)
        least_row = np.searchsorted(depths, places)  # of the depths that reach a candidate
        hits[column] = np.bincount(least_row, minlength=len(depths) + 1)[:-1].cumsum()
        place = _looked_up(followed, met, least_row, search.positions)
        raise_to(found[:, :, column], followed.queries, near.places, place, followed.scores)
    return Probe(near.scores, found, hits)


def _looked_up(passages: Passages, met: ShardHits, least_row: Int64, positions: int) -> Int64:
    """int64[m]: of each passage what `least_row` int64 says of it as a candidate of its query; more
    than any depth's where it is none."""
    out = np.full(len(passages.queries), NEVER, np.int64)
    row_of = np.full(positions, NEVER, np.int64)
    look_up(met.positions, met.ends, least_row, passages.queries, passages.positions, row_of, out)
    return out
