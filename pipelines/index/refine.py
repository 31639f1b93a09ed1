"""Refinement: exact scores for the hits of a shard, each part read once for all of them.

Hits are held as a position and a score each, and are put in order a block of queries at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool, Float32, Int32, Int64
from shardrank.core.schemas import HITS
from shardrank.core.topk import number_ids, top_order
from shardrank.index.blocks import PartBlock
from shardrank.index.documents import ShardHits
from shardrank.index.pairs import check_queries, pair_scores
from shardrank.kernels.search_loops import by_value

#: Hits scored at once: their numbers take little room beside all hits.
_AT_ONCE = 1 << 20

#: What HITS say of a row, whoever asked for it.
_ROWS = pa.schema([HITS.field(name) for name in ("doc_id", "passage", "part", "row")])


@dataclass(frozen=True, eq=False)
class HitRows:
    """The live rows of a shard that were hit.

    Attributes:
        documents: int32[n], the place of each row's document in `ids`.
        ids: distinct ids, in the order of their bytes.
        passages: int32[n]; likewise `parts` and `rows`, as in HITS.
        places: int32[positions], the place here of the row at each position of the shard; -1
            where there is none.
    """

    documents: Int32
    ids: pa.StringArray
    passages: Int32
    parts: Int32
    rows: Int32
    places: Int32

    @classmethod
    def of(cls, tables: Sequence[pa.Table], hit: Sequence[Bool]) -> "HitRows":
        """From the hit rows of each part, and bool[rows] that say which they are."""
        table = pa.concat_tables([_ROWS.empty_table(), *tables])
        documents, ids = number_ids(table["doc_id"])
        passages, parts, rows = (table[name].to_numpy() for name in _ROWS.names[1:])
        where = np.concatenate([np.empty(0, np.bool_), *hit])
        places = np.where(where, np.cumsum(where) - 1, -1).astype(np.int32)
        return cls(documents, ids, passages, parts, rows, places)


@dataclass(frozen=True, eq=False)
class Refined:
    """The hits of a shard with their exact scores.

    Attributes:
        hits: the m of them.
        queries: int32[m], whose they are.
        scores: float32[m]; 0 of what is not live.
        rows: where the hits are.
    """

    hits: ShardHits
    queries: Int32
    scores: Float32
    rows: HitRows

    def best(self, begin: int, end: int, k: int) -> pa.Table:
        """HITS in the total order: the k best documents of queries `begin` to `end`.

        They are counted from `begin`; rows that are not live are left out.
        """
        rows, block = self.rows, slice(self.hits.ends[begin], self.hits.ends[end])
        place = rows.places[self.hits.positions[block]]
        live = place >= 0
        place, score = place[live], self.scores[block][live]
        query = self.queries[block][live] - np.int32(begin)
        kept = top_order(query, rows.documents[place], rows.passages[place], score, k)
        place = place[kept]
        columns = [
            pa.array(query[kept]),
            rows.ids.take(pa.array(rows.documents[place])),
            pa.array(rows.passages[place]),
            pa.array(score[kept]),
            pa.array(rows.parts[place]),
            pa.array(rows.rows[place]),
        ]
        return pa.Table.from_arrays(columns, schema=HITS)


@dataclass(frozen=True, eq=False)
class ScoredPart:
    """A part whose rows can be scored.

    Attributes:
        rows: its documents.
        score: queries int32[m] and rows int64[m] of the part → float32[m].
    """

    rows: PartBlock
    score: Callable[[Int32, Int64], Float32]


def refine(
    queries: Float32, hits: ShardHits, parts: Iterable[PartBlock], offsets: Sequence[int]
) -> Refined:
    """Score the hits of a shard of dense vectors, which takes about 20 bytes for each of them.

    Args:
        queries: float32[Q, d].
        hits: what was found for them in the shard.
        parts: the shard's parts in its order, loaded one at a time.
        offsets: the position of each part's first row.

    Raises:
        InputError: a query vector is not finite.
    """
    check_queries(queries)
    return refine_parts(hits, (_scored(queries, part) for part in parts), offsets)


def _scored(queries: Float32, part: PartBlock) -> ScoredPart:
    return ScoredPart(part, lambda query, row: pair_scores(queries, query, part.vectors, row))


def refine_parts(hits: ShardHits, parts: Iterable[ScoredPart], offsets: Sequence[int]) -> Refined:
    """As `refine`, by the parts' own scores."""
    positions, query = hits.positions, hits.queries
    order, ends = by_value(positions, int(positions.max(initial=-1)) + 1)
    scores, tables, hit = np.zeros(len(positions), np.float32), [], []
    for each, offset in zip(parts, offsets, strict=True):
        part = each.rows
        begin, end = ends[np.minimum([offset, offset + part.rows], len(ends) - 1)]
        seen = np.zeros(part.rows, np.bool_)
        for mine in _pieces(order[begin:end]):
            row = positions[mine].astype(np.int64) - offset
            mine, row = mine[part.live[row]], row[part.live[row]]
            scores[mine] = each.score(query[mine], row)
            seen[row] = True
        tables.append(_described(part, np.flatnonzero(seen)))
        hit.append(seen)
    return Refined(hits, query, scores, HitRows.of(tables, hit))


def _pieces(hits: Int64) -> Iterator[Int64]:
    return (hits[begin : begin + _AT_ONCE] for begin in range(0, len(hits), _AT_ONCE))


def _described(part: PartBlock, rows: Int64) -> pa.Table:
    row = rows.astype(np.int32)
    columns = [
        part.doc_ids.take(pa.array(row)),
        pa.array(part.passages[row]),
        pa.array(np.full(len(row), part.ordinal, dtype=np.int32)),
        pa.array(row),
    ]
    return pa.Table.from_arrays(columns, schema=_ROWS)
