"""Rows that are documents beyond doubt, judged and hashed many at once, as bytes.

What `validate.check` would take for a document too may be left out here: it then judges that row.
"""

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool, Int64
from shardrank.core.schemas import DOCUMENT_KEYS
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.rows import RowBatch, Scratch, Spans
from shardrank.corpus.text_columns import not_utf8
from shardrank.kernels.memory import BEHIND
from shardrank.kernels.row_loops import (
    Bytes,
    join_contents,
    move_texts,
    not_blank,
    printable,
    write_hex,
)
from shardrank.kernels.sha256 import UInt32, sha256_all


def plain_keys(
    batch: RowBatch, settings: CorpusSettings, scratch: Scratch
) -> tuple[Bool, pa.Table]:
    """bool[n], which rows these are; and their DOCUMENT_KEYS, as `first_pass` makes them."""
    titles, texts = batch.titles, batch.texts
    plain = batch.read.copy()
    printable(batch.ids.begins, batch.ids.ends, settings.max_id_bytes, plain)
    not_blank(texts.begins, texts.ends, plain)
    sizes = titles.ends - titles.begins + texts.ends - texts.begins
    plain &= sizes <= settings.max_document_bytes
    contents, odd = _contents(titles, texts, plain, scratch)
    if not batch.checked:
        plain &= ~not_utf8(contents, odd & plain)
    rows = np.flatnonzero(plain)
    begins, ends = batch.ids.begins[rows], batch.ids.ends[rows]
    columns = [
        pa.array(_first_64(sha256_all(begins, ends))),
        _together(begins, ends),
        _hex(sha256_all(contents.begins[rows], contents.ends[rows])),
        _strings(np.zeros(len(rows), np.int64), np.empty(0, np.uint8)),
        pa.array(batch.numbers[rows]),
    ]
    return plain, pa.Table.from_arrays(columns, schema=DOCUMENT_KEYS)


def _contents(titles: Spans, texts: Spans, plain: Bool, scratch: Scratch) -> tuple[Spans, Bool]:
    """What `content_hash` hashes of rows that are plain; those whose title holds a NUL are not. And
    bool[n], which of them may hold more than ASCII."""
    begins, ends = np.empty(len(plain), np.int64), np.empty(len(plain), np.int64)
    odd = np.empty(len(plain), np.bool_)
    sizes = titles.ends - titles.begins + texts.ends - texts.begins + 1
    out = scratch.bytes(int(sizes[plain].sum()) + BEHIND)
    join_contents(
        *(titles.begins, titles.ends, texts.begins, texts.ends), plain, out, begins, ends, odd
    )
    return Spans((titles.held, texts.held, out), begins, ends), odd


def _first_64(digests: UInt32) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    high, low = digests[:, 0].astype(np.uint64), digests[:, 1].astype(np.uint64)
    return high << np.uint64(32) | low


def _together(begins: Int64, ends: Int64) -> pa.StringArray:
    """Texts as a column."""
    bounds = np.cumsum(ends - begins)
    out = np.empty(BEHIND + int(bounds[-1] if len(bounds) else 0), np.uint8)
    move_texts(begins, ends, out)
    return _strings(bounds, out)


def _hex(digests: UInt32) -> pa.StringArray:
    data = np.empty((len(digests), 4), np.uint64)
    write_hex(digests, data)
    return _strings(32 * np.arange(1, len(digests) + 1), data.view(np.uint8))


def _strings(ends: Int64, data: Bytes) -> pa.StringArray:
    offsets = np.append(0, ends).astype(np.int32)
    return pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
