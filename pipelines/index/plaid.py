"""A shard of token vectors that are stored as codes beside centroids, and searching it: PLAID
(Santhanam et al. 2022, arXiv:2205.09707).

A query's tokens are compared with the centroids alone; the passages of the nearest ones are its
candidates; and a candidate's score is as MaxSim would have it if each of its tokens were its
centroid (the paper's centroid interaction, section 4.3). That only chooses: what is chosen is
decoded, and scored by MaxSim. Tokens and centroids are rounded to 8 bits here, whose products are
whole numbers, so that what a query finds depends on nothing but the query and the shard.

The paper also leaves centroids out that are far from all of a query's tokens (section 4.4); that
is not done here, where 32 tokens of a query take one instruction a centroid. To ask of each whether
it is left out takes longer than to compare it, and what is left out may be missed
(docs/measured-retrieval.md).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import save

from shardrank.core.arrays import Bool, Float32, Int8, Int16, Int32, Int64
from shardrank.core.errors import IntegrityError
from shardrank.core.protocols import Int8Product
from shardrank.core.tensors import Held, read_tensors
from shardrank.core.token_vectors import TokenVectors
from shardrank.kernels import plaid_loops as loops
from shardrank.kernels.centroid_lanes import WIDTH

#: What the bytes hold.
_LAYOUT = {
    "centroid_ends": Held(1, (np.int64,)),
    "passages": Held(1, (np.int32,)),
    "passage_ends": Held(1, (np.int64,)),
    "centroids": Held(1, (np.int32,)),
}

#: The largest 8-bit number; and bits of a product that are kept, with its sign: one fewer than it
#: has room for, so that none is the lowest number, which stands for none.
_MOST, _KEPT_BITS = 127, 15

#: Products of centroids and tokens that are made at once: 2 MiB, which a core's cache holds. Of 64
#: MiB they took twice as long to make and to narrow (docs/measured-retrieval.md).
_PRODUCTS = 1 << 19


def build_plaid(blocks: Iterable[tuple[Int64, Int64, Int64]], rows: int, centroids: int) -> bytes:
    """Which passages have tokens of which centroids; the same blocks give the same bytes.

    Args:
        blocks: (positions int64[n], ends int64[n + 1], numbers int64[t]): passages, only live ones,
            whose positions ascend over all blocks, and the centroids of their tokens.
        rows: the positions of the shard.
        centroids: that there are.

    Returns:
        Safetensors: of each centroid its `passages` int32[p], ascending, from `centroid_ends`
        int64[k + 1] on; of each position its different `centroids` int32[p], from `passage_ends`
        int64[rows + 1] on.
    """
    sizes, pieces = np.zeros(rows, np.int64), [np.empty(0, np.int32)]
    for positions, ends, numbers in blocks:
        mine, out = np.empty(len(positions), np.int64), np.empty(len(numbers), np.int32)
        seen = np.full(centroids, -1, np.int64)
        pieces.append(out[: loops.distinct(numbers, ends, seen, mine, out)])
        sizes[positions] = mine
    held, passage_ends = np.concatenate(pieces), _ends(sizes)
    centroid_ends = _ends(np.bincount(held, minlength=centroids))
    passages = np.empty_like(held)
    loops.by_centroid(passage_ends, held, centroid_ends[:-1].copy(), passages)
    return save(
        {
            "centroid_ends": centroid_ends,
            "passages": passages,
            "passage_ends": passage_ends,
            "centroids": held,
        }
    )


def _ends(sizes: Int64) -> Int64:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


@dataclass(frozen=True, eq=False)
class CentroidLists:
    """What `build_plaid` wrote."""

    centroid_ends: Int64
    passages: Int32
    passage_ends: Int64
    centroids: Int32

    @classmethod
    def load(cls, data: bytes) -> "CentroidLists":
        """Raises IntegrityError where the bytes are not of `build_plaid`."""
        found = cls(**read_tensors(data, _LAYOUT, _broken))
        found._check()
        return found

    def _check(self) -> None:
        """Everything that compiled loops, which check no bounds, rely on."""
        _check_lists(self.centroid_ends, self.passages, self.rows)
        _check_lists(self.passage_ends, self.centroids, self.count)
        if not np.diff(self.passage_ends)[self.passages].all():
            raise _broken("lists passages that have no centroid")

    @property
    def rows(self) -> int:
        """Positions of the shard."""
        return len(self.passage_ends) - 1

    @property
    def count(self) -> int:
        """Centroids."""
        return len(self.centroid_ends) - 1


def _check_lists(ends: Int64, held: Int32, most: int) -> None:
    sound = len(ends) and ends[0] == 0 and ends[-1] == len(held) and (np.diff(ends) >= 0).all()
    if not sound or (len(held) and not 0 <= held.min() <= held.max() < most):
        raise _broken("has lists that are not of its passages and centroids")


def _broken(what: str) -> IntegrityError:
    return IntegrityError(f"A shard of token vectors {what}.", "Build the shard again.")


class PlaidShard:
    """A loaded shard, to be searched as `LoadedShard` is, by queries of many vectors."""

    def __init__(self, lists: CentroidLists, centroids: Float32, product: Int8Product) -> None:
        """`centroids` float32[k, d] are those of the codec.

        Raises:
            IntegrityError: they are not as many as the shard's.
        """
        if len(centroids) != lists.count:
            raise _broken(f"is of {lists.count} centroids, and the codec has {len(centroids)}")
        self._lists, self._product = lists, product
        self._centroids = _rounded(centroids)
        self._longest = _longest(self._centroids)
        self._every = np.arange(lists.count, dtype=np.int32)[None]

    @property
    def size(self) -> int:
        """Passages in it."""
        return self._lists.rows

    @property
    def nlist(self) -> int:
        """Centroids, each of which has a list of passages."""
        return self._lists.count

    def search(
        self, queries: TokenVectors, nprobe: int, depth: int, live: Bool | None = None
    ) -> Int64:
        """Positions int64[Q, depth] of candidates, best first by their centroids, padded with -1.

        Args:
            queries: Q of them.
            nprobe: centroids that are probed for each token; more than `nlist` means all.
            depth: candidates for each query, at least 1.
            live: bool[positions]; others are passed over and take no candidate's place. None: all.
        """
        return next(self.widening(queries, [min(nprobe, self.nlist)], depth, live))

    def widening(
        self, queries: TokenVectors, nprobes: Sequence[int], depth: int, live: Bool | None = None
    ) -> Iterator[Int64]:
        """As `search` by each of `nprobes`, ascending and no more than `nlist`, at the cost of the
        last one."""
        found = np.full((len(nprobes), queries.rows, depth), -1, np.int64)
        desk = _Desk.of(self._lists)
        for number, near, tokens in self._near(queries):
            self._query(_Asked(number, near, tokens), nprobes, live, desk, found[:, number])
        return iter(found)

    def _near(self, queries: TokenVectors) -> Iterator[tuple[int, Int16, int]]:
        """Of each query that has tokens: its number, products int16[k, w] of centroids and tokens,
        and how many tokens it has."""
        for begin, end in _spans(queries.ends, _PRODUCTS // max(1, self.nlist)):
            first = queries.ends[begin]
            if queries.ends[end] == first:
                continue
            small = [_rounded(queries.text(n)) for n in range(begin, end)]
            products = self._product(self._centroids, np.concatenate(small))
            for number, tokens in enumerate(small, begin):
                if len(tokens):
                    width = -(-len(tokens) // WIDTH) * WIDTH
                    near = np.empty((self.nlist, width), np.int16)
                    shift = self._shift(tokens)
                    at = queries.ends[number] - first
                    loops.narrow(products, at, len(tokens), shift, near)
                    yield number, near, len(tokens)

    def _shift(self, tokens: Int8) -> int:
        """Bits by which products are too long, by the inequality of Cauchy and Schwarz."""
        most = int(np.sqrt(self._longest * _longest(tokens))) + 1
        return max(0, most.bit_length() + 1 - _KEPT_BITS)

    def _query(
        self,
        asked: "_Asked",
        nprobes: Sequence[int],
        live: Bool | None,
        desk: "_Desk",
        out: Int64,
    ) -> None:
        """The candidates of one query, into int64[nprobes, depth]."""
        lists, done, before = self._lists, 0, 0
        probed = self._probed(asked, nprobes)
        for row, nprobe in zip(out, nprobes, strict=True):
            count = loops.meet_passages(
                self._every if nprobe >= self.nlist else probed[:, before:nprobe],
                lists.centroid_ends,
                lists.passages,
                _ALL if live is None else live,
                asked.number,
                desk.centroids,
                desk.passages,
                desk.found,
                done,
            )
            new = slice(done, count)
            loops.interact(
                asked.near, lists.passage_ends, lists.centroids, desk.found[new], desk.keys[new]
            )
            _best(desk.keys[:count], row)
            done, before = count, nprobe

    def _probed(self, asked: "_Asked", nprobes: Sequence[int]) -> Int32:
        """int32[tokens, n]: the centroids of each token, nearest first, as many as are probed where
        not all are."""
        most = max((nprobe for nprobe in nprobes if nprobe < self.nlist), default=0)
        probed = np.empty((asked.tokens, most), np.int32)
        if most:
            loops.nearest(asked.near, asked.tokens, probed)
        return probed


_ALL: Bool = np.empty(0, np.bool_)


@dataclass(frozen=True, eq=False)
class _Asked:
    """A query: its number, products int16[k, w] of centroids and its tokens, and these' number."""

    number: int
    near: Int16
    tokens: int


@dataclass(frozen=True, eq=False)
class _Desk:
    """Where a query's candidates are gathered: which centroids int32[k] and passages int32[rows]
    the query of a number has met; the passages int32[rows] and their keys int64[rows]."""

    centroids: Int32
    passages: Int32
    found: Int32
    keys: Int64

    @classmethod
    def of(cls, lists: CentroidLists) -> "_Desk":
        rows = lists.rows
        met, seen = np.full(lists.count, -1, np.int32), np.full(rows, -1, np.int32)
        return cls(met, seen, np.empty(rows, np.int32), np.empty(rows, np.int64))


def _best(keys: Int64, out: Int64) -> None:
    """The positions of the largest keys, the largest first."""
    some = keys if len(keys) <= len(out) else np.partition(keys, -len(out))[-len(out) :]
    order = np.sort(some)[::-1]
    out[: len(order)] = _LOW - (order & _LOW)


_LOW = (1 << 32) - 1


def _rounded(vectors: Float32) -> Int8:
    """int8[n, d], by one scale for all of them."""
    largest = float(np.abs(vectors).max(initial=0)) or 1.0
    small: Int8 = np.rint(vectors / np.float32(largest) * np.float32(_MOST)).astype(np.int8)
    return small


def _longest(small: Int8) -> int:
    """The square of the longest one's length."""
    return int(np.square(small, dtype=np.int64).sum(axis=1).max(initial=0))


def _spans(ends: Int64, most: int) -> Iterator[tuple[int, int]]:
    """Neighbouring queries that have at most so many tokens together, or one that has more."""
    begin, count = 0, len(ends) - 1
    while begin < count:
        end = max(begin + 1, int(np.searchsorted(ends, ends[begin] + most, "right")) - 1)
        yield begin, end
        begin = end
