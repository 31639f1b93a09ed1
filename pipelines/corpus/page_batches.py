"""Rows of a Parquet row group as its pages hold them."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shardrank.core.arrays import Bool, Int64
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.parquet_pages import Texts, read_texts
from shardrank.corpus.parquet_rows import batch_rows, rows_of
from shardrank.corpus.rows import RowBatch, SourceRow, Spans
from shardrank.corpus.text_columns import gathered


def text_names(columns: CorpusSettings, schema: pa.Schema) -> list[str]:
    """The columns of id, text and title, as far as the file has them."""
    return [name for name in (columns.id, columns.text, columns.title) if name in schema.names]


def page_batches(
    file: pq.ParquetFile, stream: BinaryIO, group: int, first: int, columns: CorpusSettings
) -> Iterator[RowBatch]:
    """The rows of a group, of which the first is row `first`; raises what `read_texts` raises."""
    names = text_names(columns, file.schema_arrow)
    kinds = [file.schema_arrow.field(name).type for name in names]
    for texts in read_texts(stream, file.metadata, group, names, batch_rows(file.metadata)):
        numbers = first + np.arange(len(texts[0].valid))
        read = texts[0].valid & texts[1].valid
        empty = Spans(None, texts[0].spans.begins, texts[0].spans.begins)
        title = texts[2].spans if len(texts) > 2 else empty
        picked = partial(_picked, texts, pa.schema(zip(names, kinds, strict=True)), first, columns)
        yield RowBatch(numbers, texts[0].spans, title, texts[1].spans, read, picked, checked=False)
        first += len(numbers)


def _picked(
    texts: Sequence[Texts], schema: pa.Schema, first: int, columns: CorpusSettings, wanted: Bool
) -> Iterator[SourceRow]:
    rows = np.flatnonzero(wanted)
    if not len(rows):
        return iter(())
    arrays = [_column(each, rows, field.type) for each, field in zip(texts, schema, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    return rows_of(batch, (first + rows).tolist(), columns)


def _column(texts: Texts, rows: Int64, kind: pa.DataType) -> pa.Array:
    """These rows of a column, nulls too."""
    found = gathered(texts.spans, rows, kind)
    places = np.arange(len(rows))
    return found.take(pa.array(places, mask=~texts.valid[rows]))
