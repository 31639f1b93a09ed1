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

#: One row per accepted document of a source slice: what resolving duplicates needs.
DOCUMENT_KEYS = pa.schema(
    [
        pa.field("id_hash", pa.uint64(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
)

#: Queries as encoded: row i of a block is query i of it.
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


def vectors_schema(dim: int, dtype: str) -> pa.Schema:
    """Vectors of a part, row-aligned with its passages.

    Args:
        dim: components per vector.
        dtype: "fp16" or "fp32".

    `ok` is false where the model gave a non-finite vector: such a row is stored as zeros, is
    reported as rejected, and is never searched.
    """
    value = pa.float16() if dtype == "fp16" else pa.float32()
    return pa.schema(
        [
            pa.field("vector", pa.list_(value, dim), nullable=False),
            pa.field("ok", pa.bool_(), nullable=False),
        ]
    )


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
