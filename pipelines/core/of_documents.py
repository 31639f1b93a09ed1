"""Values of a column with the documents of their passages beside them, as encoders read them that
make one value of a document's."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Int64


@dataclass(frozen=True)
class OfDocuments:
    """n values; documents follow one another.

    Attributes:
        values: of the passages.
        starts: int64[documents], the first passage of each.
        tokens: int64[n], how many tokens each passage has.
    """

    values: pa.Array
    starts: Int64
    tokens: Int64

    @classmethod
    def of(cls, read: pa.Array) -> "OfDocuments":
        """Of what `of_documents` made, or of values alone, each of which is a document's."""
        if not pa.types.is_struct(read.type):
            return cls(read, np.arange(len(read)), np.ones(len(read), np.int64))
        passage, tokens = (read.field(name).to_numpy() for name in ("passage", "tokens"))
        return cls(read.field("value"), np.flatnonzero(passage == 0), tokens)


def of_documents(values: pa.Array, passage: pa.Array, tokens: pa.Array) -> pa.Array:
    """Struct<value, passage, tokens> of a part's passages, in order: the value of each, its number
    in its document, and how many tokens it has."""
    columns = [values, passage.cast(pa.int32()), tokens.cast(pa.int64())]
    return pa.StructArray.from_arrays(columns, names=["value", "passage", "tokens"])
