"""A part in memory: its documents, its vectors, and how hits in it become tables."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Bool, Float32, Int32, Int64
from shardrank.core.arrow_columns import matrix
from shardrank.core.errors import IntegrityError
from shardrank.core.schemas import HITS
from shardrank.core.topk import descending, pack
from shardrank.kernels.order_loops import best_documents


def finite_vectors(ordinal: int, vectors: pa.Table, live: Bool) -> Float32:
    """float32[n, d] of a part's column of vectors. Raises IntegrityError where a live one is not
    finite."""
    values = matrix(vectors["vector"])
    if not np.isfinite(values).all(axis=1, where=live[:, None]).all():
        raise IntegrityError(
            f"Part {ordinal} has live vectors that are not finite.", "Embed the part again."
        )
    return values


@dataclass(frozen=True, eq=False)
class PartBlock:
    """One part's rows. A document's passages are consecutive rows.

    Attributes:
        ordinal: the part's number in its version, which hits carry.
        doc_ids: string[n].
        passages: int32[n].
        vectors: float32[n, d].
        live: bool[n]; rows that are not are never found.
    """

    ordinal: int
    doc_ids: pa.StringArray
    passages: Int32
    vectors: Float32
    live: Bool

    @classmethod
    def from_tables(
        cls, ordinal: int, keys: pa.Table, vectors: pa.Table, live: Bool
    ) -> "PartBlock":
        """The block of its documents (doc_id, row and rows of PART_KEYS) and its vectors.

        Raises:
            IntegrityError: the documents do not fill the rows, each its own, or a live vector is
                not finite.
        """
        whole = cls.without_vectors(ordinal, keys, live, vectors.num_rows)
        return replace(whole, vectors=finite_vectors(ordinal, vectors, live))

    @classmethod
    def without_vectors(cls, ordinal: int, keys: pa.Table, live: Bool, rows: int) -> "PartBlock":
        """Of documents alone, of so many rows in all; its vectors have no components.

        Raises:
            IntegrityError: the documents do not fill the rows, each its own.
        """
        keys = keys.sort_by("row")
        each = keys["rows"].to_numpy()
        first = np.cumsum(each, dtype=np.int64) - each
        if each.sum() != rows or not np.array_equal(first, keys["row"].to_numpy()):
            raise IntegrityError(
                f"Part {ordinal} has {rows} vectors, its documents have {each.sum()}.",
                "Its files do not belong together: embed the part again.",
            )
        own = pa.array(np.repeat(np.arange(len(each)), each))
        ids = pa.concat_arrays([pa.array([], pa.string()), *keys["doc_id"].take(own).chunks])
        passages = (np.arange(len(live)) - np.repeat(first, each)).astype(np.int32)
        return cls(ordinal, ids, passages, np.empty((rows, 0), np.float32), live)

    @property
    def rows(self) -> int:
        return len(self.passages)

    @cached_property
    def starts(self) -> Int64:
        """int64[documents]: the first row of each document."""
        if not self.rows:
            return np.empty(0, np.int64)
        changes = pc.not_equal(self.doc_ids[1:], self.doc_ids[:-1]).to_numpy(zero_copy_only=False)
        return np.flatnonzero(np.concatenate([[True], changes]))

    @cached_property
    def documents(self) -> Int32:
        """int32[n]: each row's document, numbered as the ids of the part sort by their bytes.

        Raises:
            IntegrityError: a document's passages are not consecutive rows.
        """
        first = self.doc_ids.take(pa.array(self.starts))
        if pc.count_distinct(first).as_py() != len(first):
            raise IntegrityError(
                f"Part {self.ordinal} has a document whose passages are not consecutive rows.",
                "The part was not written by shardrank; ingest again.",
            )
        numbers = np.empty(len(first), dtype=np.int32)
        numbers[pc.sort_indices(first).to_numpy()] = np.arange(len(first), dtype=np.int32)
        return np.repeat(numbers, np.diff(np.append(self.starts, self.rows)))

    def hits(self, query: Int64, rows: Int64, scores: Float32, k: int) -> pa.Table:
        """Scored pairs as HITS: folded by document, in the total order, k documents a query.

        Args:
            query: int64[m], the query of each pair, ascending.
            rows: int64[m], its row in this part, ascending.
            scores: float32[m].
            k: documents kept for each query.

        Raises:
            InputError: a score is NaN.
        """
        order = np.empty(len(rows), np.int64)
        keys = pack(descending(scores), self.passages[rows])
        count = best_documents(query, self.documents[rows], keys, len(self.starts), k, order)
        kept = order[:count]
        row = rows[kept].astype(np.int32)
        columns = [
            pa.array(query[kept].astype(np.int32)),
            self.doc_ids.take(pa.array(row)),
            pa.array(self.passages[row]),
            pa.array(scores[kept]),
            pa.array(np.full(count, self.ordinal, dtype=np.int32)),
            pa.array(row),
        ]
        return pa.Table.from_arrays(columns, schema=HITS)
