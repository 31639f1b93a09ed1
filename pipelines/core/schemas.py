"""The Arrow schemas of every table that shardrank writes, and the types it accepts.

Arrow and Parquet: https://arrow.apache.org/docs/format/Columnar.html
"""

import pyarrow as pa

#: Passages of a part. `tokens` are the encoder's ids of prompt, title and text, without special
#: tokens; `truncated` says that the encoder will see less than the whole passage. A document's
#: passages are consecutive rows and never cross a part.
PASSAGES = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("passage", pa.int32(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("tokens", pa.list_(pa.uint32()), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
    ]
)

#: Pictures of a part, row by row: a document's lies beside its first passage.
PICTURES = pa.schema([pa.field("picture", pa.binary())])

#: Hits: (query, passage, score); `query` counts within the query block, `row` within the part.
HITS = pa.schema(
    [
        pa.field("query", pa.int32(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("passage", pa.int32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)

#: The contract's output: OUT/rankings/*.parquet.
RANKINGS = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("passage", pa.int32(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("retrieval_rank", pa.int32(), nullable=False),
        pa.field("retrieval_score", pa.float32(), nullable=False),
        pa.field("rerank_score", pa.float32(), nullable=True),
    ]
)

#: Rows set aside, with their reason: INDEX/runs/RUN/rejected/*.parquet.
REJECTED = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=True),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)

#: The files that a run's corpus stands for: INDEX/runs/RUN/sources.parquet. `reason` says why one
#: is not read; null where it is.
SOURCES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=True),
        pa.field("reason", pa.string(), nullable=True),
    ]
)

#: One row per accepted document of a source slice: what comparing it with an index needs. The
#: content hash of a tombstone, a row that only says that a document is gone, is empty; `order`
#: sorts the rows of one id, where corpus.order names a column.
DOCUMENT_KEYS = pa.schema(
    [
        pa.field("id_hash", pa.uint64(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("order", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
)

#: One row per document of a part, sorted by (id_hash, doc_id): its first row in the part, how many
#: rows it has, and their tokens and truncated passages.
PART_KEYS = pa.schema(
    [
        pa.field("id_hash", pa.uint64(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("truncated", pa.int32(), nullable=False),
    ]
)

#: Source rows that are not ingested: in which slice, at which row.
SKIPS = pa.schema(
    [
        pa.field("slice", pa.int32(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
)

#: Documents of an index that are no longer live, by part; `replaced` ones come again, changed.
REMOVED = pa.schema(
    [
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("truncated", pa.int32(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("replaced", pa.bool_(), nullable=False),
    ]
)

#: Queries as encoded: row i of a block is query i of it. Where any has a picture, a column
#: "picture" follows, binary; where they may exclude documents, one of `core/excluded.py`.
QUERIES = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)


def token_type(vocab_size: int) -> pa.DataType:
    """The smallest unsigned type that holds every id of the vocabulary: uint16 or uint32."""
    return pa.uint16() if vocab_size <= 1 << 16 else pa.uint32()


def passages_schema(vocab_size: int) -> pa.Schema:
    """PASSAGES with the `tokens` type that suits the vocabulary."""
    tokens = pa.field("tokens", pa.list_(token_type(vocab_size)), nullable=False)
    return PASSAGES.set(PASSAGES.get_field_index("tokens"), tokens)


def column_schema(kind: pa.DataType) -> pa.Schema:
    """A column of a part, row-aligned with its passages: vectors, whose type says of which kind.

    Dense ones are FixedSizeList<fp16 or fp32>[dim]; sparse ones List<Struct<term, weight>>, with
    ascending terms (`shardrank.core.sparse`).

    Where the first encoder gave a vector that is not finite, the document is marked deleted in the
    part from the start, is reported as rejected, and its rows are stored as zeros.
    """
    return pa.schema([pa.field("vector", kind, nullable=False)])


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column type is one that a source file may hold.

    Extension types are refused before any value is touched: Ray registers some whose values
    are pickles, so reading them runs code from the file.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return False
    if pa.types.is_dictionary(kind):
        return is_plain(kind.value_type)
    if pa.types.is_nested(kind):
        return all(is_plain(kind.field(i).type) for i in range(kind.num_fields))
    return True
