"""Texts that were written about passages, beside these: as encoders of both read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

#: Of a column of them: none, or some, of each passage.
WRITTEN = pa.list_(pa.string())

_KIND = pa.struct([pa.field("text", pa.string()), pa.field("written", WRITTEN)])


@dataclass(frozen=True)
class Beside:
    """n texts, title and text of a passage in one, and of each those that were written about it."""

    texts: Sequence[str]
    written: Sequence[Sequence[str]]

    @classmethod
    def of(cls, read: pa.Array) -> "Beside":
        """Of what `beside` made."""
        return cls(read.field("text").to_pylist(), read.field("written").to_pylist())


def beside(texts: pa.Array, written: pa.Array) -> pa.StructArray:
    """Struct<text: string, written: List<string>>, a row a passage."""
    return pa.StructArray.from_arrays([texts, written], fields=[*_KIND])


def holds_texts(column: pa.DataType) -> bool:
    """Whether a column of this type is one of written texts."""
    return bool(column == WRITTEN)
