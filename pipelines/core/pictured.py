"""Texts with pictures beside them, as encoders of both read them."""

from dataclasses import dataclass

import pyarrow as pa

_KIND = pa.struct([pa.field("text", pa.string()), pa.field("picture", pa.binary())])


@dataclass(frozen=True)
class Pictured:
    """n texts, "" where there is none, and the bytes of n pictures, None where there is none."""

    texts: list[str]
    pictures: list[bytes | None]

    @classmethod
    def of(cls, read: pa.Array) -> "Pictured":
        """Of what `pictured` made, or of strings alone."""
        if pa.types.is_struct(read.type):
            return cls(read.field("text").to_pylist(), read.field("picture").to_pylist())
        return cls(read.to_pylist(), [None] * len(read))


def pictured(texts: pa.Array, pictures: pa.Array | None) -> pa.Array:
    """Struct<text: string, picture: binary>; without pictures the texts as they are."""
    if pictures is None:
        return texts
    return pa.StructArray.from_arrays([texts, pictures], fields=[*_KIND])
