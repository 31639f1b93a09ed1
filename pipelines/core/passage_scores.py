"""The scores of documents' passages, from which a fold makes the documents' scores."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32, Int64
from shardrank.core.folds import MOST
from shardrank.core.topk import rescored


@dataclass(frozen=True, eq=False)
class PassageScores:
    """The scores of n documents' passages.

    Attributes:
        scores: float32[m], document behind document, of each the best first.
        ends: int64[n + 1], where each document's begin; it has at least one.
    """

    scores: Float32
    ends: Int64

    @classmethod
    def none(cls) -> "PassageScores":
        """Of no document."""
        return cls(np.empty(0, np.float32), np.zeros(1, np.int64))

    @classmethod
    def of(cls, scores: Float32, ends: Int64) -> "PassageScores":
        """From scores in any order within a document, of which none is NaN."""
        document = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        return cls(scores[np.lexsort((-scores, document))], ends)

    def folded(self, weights: tuple[float, ...]) -> Float32:
        """float32[n]: Σ wᵢ·sᵢ / Σ wᵢ over a document's passages, reckoned in float64 and in their
        order, so that a document's score depends on nothing else."""
        sizes = np.diff(self.ends)
        longest = int(sizes.max(initial=0))
        each = weights[:longest] if weights else (1.0,) * longest
        sums, total = np.zeros((2, len(sizes)))
        for place, weight in enumerate(each):
            has = np.flatnonzero(sizes > place)
            sums[has] += weight * self.scores[self.ends[has] + place].astype(np.float64)
            total[has] += weight
        return (sums / total).astype(np.float32)

    def first(self, most: int) -> "PassageScores":
        """The best of each document, so many of them at most."""
        sizes = np.diff(self.ends)
        place = np.arange(len(self.scores)) - np.repeat(self.ends[:-1], sizes)
        ends = np.concatenate([[0], np.cumsum(np.minimum(sizes, most), dtype=np.int64)])
        return PassageScores(self.scores[place < most], ends)


def with_passages(documents: pa.Table, passages: PassageScores) -> pa.Table:
    """A table of documents and, row by row, what a fold is made of: `best`, the scores of the MOST
    best passages (list<float32>), and `mean`, of all."""
    best = passages.first(MOST)
    offsets = pa.array(best.ends.astype(np.int32))
    lists = pa.ListArray.from_arrays(offsets, pa.array(best.scores))
    table = documents.append_column("best", lists)
    return table.append_column("mean", pa.array(passages.folded(())))


def refolded(hits: pa.Table, weights: tuple[float, ...]) -> pa.Table:
    """Hits that have passages, see `with_passages`, in the order of the fold by these weights."""
    if not weights:
        return rescored(hits, hits["mean"].to_numpy())
    best = pa.concat_arrays([pa.array([], pa.list_(pa.float32())), *hits["best"].chunks])
    ends = best.offsets.to_numpy().astype(np.int64)
    scores = PassageScores(best.flatten().to_numpy(), ends - ends[0])
    return rescored(hits, scores.folded(weights))
