"""An inverted index: a shard of sparse vectors, and searching it.

Positions count the shard's rows over its parts in order. The bytes are safetensors, so nothing in
them is run.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from shardrank.core.arrays import Bool, Float32, Int32, Int64, UInt64
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.sparse import SparseRows
from shardrank.core.tensors import Held, Tensors, read_tensors
from shardrank.index.bm25 import Bm25
from shardrank.index.term_search import Postings, ScoredRows, search
from shardrank.kernels.block_loops import Lists, Rows
from shardrank.kernels.inverting_loops import add_up, ascend, lay_out, number_terms

#: What the bytes hold.
_LAYOUT = {
    "terms": Held(1, (np.uint64,)),
    "ends": Held(1, (np.int64,)),
    "positions": Held(1, (np.int32,)),
    "weights": Held(1, (np.uint16, np.float16, np.float32)),
    "lengths": Held(1),
}


def build_inverted(blocks: Iterable[tuple[Int64, SparseRows]], rows: int) -> bytes:
    """The posting lists of sparse rows; the same blocks give the same bytes.

    Takes about 8 bytes for each posting beside the bytes that it makes.

    Args:
        blocks: (positions int64[n], n rows), only of live rows; positions ascend over all blocks.
        rows: the positions of the shard.

    Returns:
        Tensors: `terms` uint64[T], ascending; `ends` int64[T + 1], where each one's postings begin;
        their `positions` int32[P], ascending within a term, and `weights`, uint16[P] where all are
        whole and below 65,536, else float16[P] if that is exact, else float32[P]; and `lengths`
        float32[rows], the sums of the rows' weights, 0 of those that were not given.

    Raises:
        InputError: a weight is negative or not finite.
    """
    lists = _Lists(rows)
    for positions, block in blocks:
        lists.add(positions, block)
    return bytes(save(lists.tensors()))


class _Lists:
    """Rows that become posting lists."""

    def __init__(self, rows: int) -> None:
        self._lengths = np.zeros(rows, np.float32)
        self._blocks: list[tuple[Int64, Int64, Int32, Float32]] = []
        self._known = np.empty(0, np.uint64)
        self._count = 0
        self._slots = np.zeros(2, np.int32)
        self._kinds = [np.uint16, np.float16, np.float32]

    def add(self, positions: Int64, block: SparseRows) -> None:
        weights = block.weights + np.float32(0)  # no -0.0
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise InputError(
                f"Sparse vectors at positions {positions[0]} to {positions[-1]} have weights that "
                "are negative or not finite.",
                "Weights of terms are finite numbers from 0 on.",
            )
        self._kinds = [kind for kind in self._kinds if _exact(weights, kind)]
        lengths = np.empty(block.rows, np.float32)
        add_up(block.ends, weights, lengths)
        self._lengths[positions] = lengths
        self._blocks.append((positions, block.ends, self._numbers(block.terms), weights))

    def _numbers(self, terms: UInt64) -> Int32:
        """int32[m]: terms by the order in which they were first met."""
        self._grow(self._count + len(terms))
        numbers = np.empty(len(terms), np.int32)
        self._count = number_terms(terms, self._known, self._count, self._slots, numbers)
        return numbers

    def _grow(self, capacity: int) -> None:
        if capacity <= len(self._known):
            return
        old, known = self._known[: self._count], np.empty(2 * capacity, np.uint64)
        self._slots = np.zeros(2 << len(known).bit_length(), np.int32)
        number_terms(old, known, 0, self._slots, np.empty(len(old), np.int32))
        self._known = known

    def tensors(self) -> Tensors:
        order = np.argsort(self._known[: self._count])
        sizes = np.zeros(self._count, np.int64)
        for _, _, numbers, _ in self._blocks:
            sizes += np.bincount(numbers, minlength=self._count)
        ends = np.concatenate([[0], np.cumsum(sizes[order], dtype=np.int64)])
        begins = np.empty_like(sizes)
        begins[order] = ends[:-1]
        positions, weights = np.empty(ends[-1], np.int32), np.empty(ends[-1], self._kinds[0])
        for rows, bounds, numbers, mine in self._blocks:
            stored = _as_bits(mine.astype(weights.dtype))
            lay_out(rows, bounds, numbers, stored, begins, positions, _as_bits(weights))
        return {
            "terms": self._known[order],
            "ends": ends,
            "positions": positions,
            "weights": weights,
            "lengths": self._lengths,
        }


def _as_bits(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Halves as whole numbers, since machine code knows no halves."""
    return weights.view(np.uint16) if weights.dtype.itemsize == 2 else weights


def _exact(weights: Float32, kind: type) -> bool:
    """Whether numbers of this type hold them."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.array_equal(weights.astype(kind).astype(np.float32), weights))


class InvertedShard:
    """A loaded inverted index."""

    def __init__(self, tensors: Tensors) -> None:
        """Of the tensors that `build_inverted` describes, which were checked."""
        lists = _lists(tensors["positions"], tensors["weights"])
        self._postings = Postings(tensors["terms"], tensors["ends"], lists)
        self._lengths: Float32 = tensors["lengths"]

    @classmethod
    def load(cls, data: bytes) -> "InvertedShard":
        """From the bytes of `build_inverted`.

        Raises:
            IntegrityError: they are not such bytes.
        """
        tensors = read_tensors(data, _LAYOUT, _broken)
        _check(tensors)
        return cls(tensors)

    @property
    def rows(self) -> int:
        """Positions in it."""
        return len(self._lengths)

    @property
    def terms(self) -> UInt64:
        """uint64[T], ascending: those that occur."""
        return self._postings.terms

    def search(
        self, queries: SparseRows, documents: Int32, live: Bool | None, k: int, rule: Bm25 | None
    ) -> ScoredRows:
        """The k best documents of each query, by their best passage, and all that tie with the
        last of them; see `term_search.search`.

        A pair's score is the float32 sum, over the query's terms as they ascend, of the products of
        the query's weight and the passage's, each rounded to float32.

        Args:
            queries: their weights (of BM25: times `bm25.idf`) are finite and not negative.
            documents: int32[rows], each position's document; its passages are consecutive.
            live: bool[rows]; others are not found. None: all.
            k: documents for each query, at least 1.
            rule: makes a passage's weights of the stored ones, if any; None: they are the same.

        Raises:
            InputError: a query's weight is negative or not finite.
            IntegrityError: documents or live are not as many as the shard has positions.
        """
        if {len(documents), self.rows if live is None else len(live)} != {self.rows}:
            raise _broken(f"of {self.rows} positions is searched by {len(documents)}")
        norms = np.empty(0, np.float32) if rule is None else rule.norms(self._lengths)
        every = np.empty(0, np.bool_)  # `Rows` takes this for all
        rows = Rows(documents, every if live is None else live, norms)
        return search(self._postings, rows, queries, k)


def _lists(positions: Int32, weights: npt.NDArray[Any]) -> Lists:
    """The postings, with a table of all numbers that two bytes may mean."""
    if weights.dtype == np.float32:
        return Lists(positions, weights, np.empty(0, np.float32))
    table = np.arange(1 << 16, dtype=np.uint16).view(weights.dtype).astype(np.float32)
    return Lists(positions, _as_bits(weights), table)


def _check(tensors: Tensors) -> None:
    terms, ends, positions, weights, lengths = (tensors[name] for name in _LAYOUT)
    if len(ends) != len(terms) + 1 or len(weights) != len(positions):
        raise _broken("has lists of other sizes than it says")
    if ends[0] != 0 or ends[-1] != len(positions) or (ends[1:] < ends[:-1]).any():
        raise _broken("has lists that do not follow one another")
    if (terms[1:] <= terms[:-1]).any() or not ascend(ends, positions, len(lengths)):
        raise _broken("has terms or positions that do not ascend")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise _broken("has weights that are negative or not finite")


def _broken(what: str) -> IntegrityError:
    return IntegrityError(f"An inverted index {what}.", "Build the shard again.")
