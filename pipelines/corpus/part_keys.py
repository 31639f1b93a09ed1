"""What an index keeps of a part beside its text: a row a document, and counts."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Bool
from shardrank.core.schemas import PART_KEYS
from shardrank.corpus.first_pass import id_hash
from shardrank.version.parts import Counts, LengthClass

#: Passage lengths are counted in classes this many tokens wide.
LENGTH_STEP = 16


def part_keys(passages: pa.Table) -> pa.Table:
    """PART_KEYS of a part.

    Args:
        passages: doc_id, content_hash, tokens and truncated of PASSAGES; a document's rows are
            consecutive.
    """
    if not passages.num_rows:
        return PART_KEYS.empty_table()
    ids = passages["doc_id"]
    changes = pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], changes]))
    first = passages.select(["doc_id", "content_hash"]).take(pa.array(starts))
    tokens = pc.list_value_length(passages["tokens"]).to_numpy().astype(np.int64)
    truncated = passages["truncated"].to_numpy().astype(np.int32)
    columns = [
        pa.array([id_hash(doc_id) for doc_id in first["doc_id"].to_pylist()], pa.uint64()),
        first["doc_id"],
        first["content_hash"],
        pa.array(starts.astype(np.int32)),
        pa.array(np.diff(np.append(starts, len(ids))).astype(np.int32)),
        pa.array(np.add.reduceat(tokens, starts)),
        pa.array(np.add.reduceat(truncated, starts).astype(np.int32)),
    ]
    keys = pa.Table.from_arrays(columns, schema=PART_KEYS)
    return keys.sort_by([("id_hash", "ascending"), ("doc_id", "ascending")]).combine_chunks()


def live_keys(keys: pa.Table, deleted: Bool) -> pa.Table:
    """The keys whose documents are live, given the deleted rows of their part, bool[n]."""
    return keys.filter(pa.array(~deleted[keys["row"].to_numpy()]))


def count(documents: pa.Table) -> Counts:
    """How much documents come to; any table with rows, tokens and truncated by document."""
    totals = [pc.sum(documents[name]).as_py() or 0 for name in ("rows", "tokens", "truncated")]
    return Counts(documents.num_rows, *totals)


def lengths(tokens: pa.ChunkedArray) -> tuple[LengthClass, ...]:
    """Passages by token count, in classes LENGTH_STEP wide, ascending."""
    sizes = pc.list_value_length(tokens).to_numpy()
    lows, counts = np.unique(sizes // LENGTH_STEP * LENGTH_STEP, return_counts=True)
    both = zip(lows.tolist(), counts.tolist(), strict=True)
    return tuple(LengthClass(low, count) for low, count in both)
