"""Rows that are documents beyond doubt, judged and hashed many at once, as bytes.

What `validate.check` would take for a document too may be left out here: it then judges that row.
"""

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool, Int64
from shardrank.core.schemas import DOCUMENT_KEYS
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.rows import RowBatch, Spans
from shardrank.kernels.row_loops import (
    Bytes,
    join_contents,
    move_spans,
    not_blank,
    printable,
    write_hex,
)
from shardrank.kernels.sha256_loops import BEHIND, UInt32, sha256_all


def plain_keys(batch: RowBatch, settings: CorpusSettings) -> tuple[Bool, pa.Table]:
    """bool[n], which rows these are; and their DOCUMENT_KEYS, as `first_pass` makes them."""
    ids, titles, texts = batch.ids, batch.titles, batch.texts
    plain = batch.read.copy()
    printable(ids.data, ids.begins, ids.ends, settings.max_id_bytes, plain)
    not_blank(texts.data, texts.begins, texts.ends, plain)
    sizes = titles.ends - titles.begins + texts.ends - texts.begins
    plain &= sizes <= settings.max_document_bytes
    contents = _contents(titles, texts, plain, int(sizes[plain].sum() + plain.sum()))
    rows = np.flatnonzero(plain)
    ids = _together(ids.data, ids.begins[rows], ids.ends[rows])
    columns = [
        pa.array(_first_64(sha256_all(ids.data, ids.begins, ids.ends))),
        _strings(ids.ends, ids.data),
        _hex(sha256_all(contents.data, contents.begins[rows], contents.ends[rows])),
        _strings(np.zeros(len(rows), np.int64), ids.data),
        pa.array(batch.numbers[rows]),
    ]
    return plain, pa.Table.from_arrays(columns, schema=DOCUMENT_KEYS)


def _contents(titles: Spans, texts: Spans, plain: Bool, size: int) -> Spans:
    """What `content_hash` hashes of rows that are plain; those whose title holds a NUL are not."""
    out, ends = np.empty(size + BEHIND, np.uint8), np.empty(len(plain), np.int64)
    join_contents(
        *(titles.data, titles.begins, titles.ends),
        *(texts.data, texts.begins, texts.ends),
        plain,
        out,
        ends,
    )
    return Spans(out, np.append(0, ends[:-1]), ends)


def _first_64(digests: UInt32) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    high, low = digests[:, 0].astype(np.uint64), digests[:, 1].astype(np.uint64)
    return high << np.uint64(32) | low


def _together(data: Bytes, begins: Int64, ends: Int64) -> Spans:
    """The spans one behind the other."""
    bounds = np.append(0, np.cumsum(ends - begins))
    out = np.empty(BEHIND + int(bounds[-1]), np.uint8)
    move_spans(data, begins, ends, out)
    return Spans(out, bounds[:-1], bounds[1:])


def _hex(digests: UInt32) -> pa.StringArray:
    data = np.empty((len(digests), 32), np.uint8)
    write_hex(digests, data)
    return _strings(32 * np.arange(1, len(digests) + 1), data)


def _strings(ends: Int64, data: Bytes) -> pa.StringArray:
    offsets = np.append(0, ends).astype(np.int32)
    return pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
