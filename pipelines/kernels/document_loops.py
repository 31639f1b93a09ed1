"""The loops over documents that a search meets; `index/documents.py` says what they are for."""

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.kernels.compiled import compiled

#: More than any value that is looked up.
NEVER = 1 << 20


@compiled
def meet(
    found: Int64, documents: Int32, depth: int, seen: Int32, lengths: Int32, met: Int32
) -> None:
    """How far each row must be read until so many documents were met, and how many were.

    Args:
        found: int64[q, width] positions; -1: there are no more.
        documents: int32[positions].
        depth: documents to be met, at least 1.
        seen: int32[documents] of -1, written over.
        lengths: int32[q], filled, and likewise `met`.
    """
    for query in range(len(found)):
        length, count = 0, 0
        for position in found[query]:
            if position < 0 or count == depth:
                break
            document = documents[position]
            count += int(seen[document] != query)
            seen[document] = query
            length += 1
        lengths[query], met[query] = length, count


@compiled
def place(positions: Int32, ends: Int64, documents: Int32, seen: Int32, out: Int32) -> None:
    """The documents met up to each candidate's; one more where it was met before.

    A beginning ends with its last document's first passage, so a passage of a document that was
    met already is in it only if one more document is.
    """
    for query in range(len(ends) - 1):
        count = 0
        for i in range(ends[query], ends[query + 1]):
            document = documents[positions[i]]
            again = seen[document] == query
            seen[document] = query
            count += int(not again)
            out[i] = count + int(again)


@compiled
def move_runs(values: Int32, starts: Int64, lengths: Int32, out: Int32) -> None:
    """The runs of values from each start on, one behind the other."""
    at = 0
    for run in range(len(starts)):
        for i in range(lengths[run]):
            out[at] = values[starts[run] + i]
            at += 1


@compiled
def look_up(
    met: Int32, ends: Int64, values: Int64, queries: Int32, positions: Int32, at: Int64, out: Int64
) -> None:
    """out[i] = the value of what query queries[i] met at positions[i]; else it stays.

    Args:
        met: int32[m] positions, those of query q from ends[q] to ends[q + 1].
        values: int64[m].
        queries: int32[p], ascending.
        positions: int32[p].
        at: int64[positions] of one number that no value is; so again afterwards.
        out: int64[p].
    """
    i = 0
    for query in range(len(ends) - 1):
        for hit in range(ends[query], ends[query + 1]):
            at[met[hit]] = values[hit]
        while i < len(queries) and queries[i] == query:
            out[i] = at[positions[i]]
            i += 1
        for hit in range(ends[query], ends[query + 1]):
            at[met[hit]] = NEVER


@compiled
def raise_to(
    found: Float32, queries: Int32, places: Int64, least_row: Int64, scores: Float32
) -> None:
    """Raise found float32[Q, n, D] to a passage's score in all rows from its least on."""
    for i in range(len(queries)):
        mine = found[queries[i], places[i]]
        for row in range(least_row[i], len(mine)):
            mine[row] = max(mine[row], scores[i])
