"""Columns of pictures in Parquet: plain bytes, or Hugging Face's struct of bytes and path
(https://huggingface.co/docs/datasets/image_dataset), of which a path is never opened."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.types as pat

from shardrank.core.errors import InputError
from shardrank.corpus.rows import Elsewhere


def check_pictures(uri: str, schema: pa.Schema, name: str) -> None:
    """Raise InputError where there is not one column of that name, or it holds no bytes."""
    hint = "Name another: --set corpus.image=NAME."
    if len(schema.get_all_field_indices(name)) != 1:
        times = "no" if name not in schema.names else "more than one"
        raise InputError(
            f"{uri} has {times} column {name!r}; it has {', '.join(schema.names) or 'none'}.", hint
        )
    kind = schema.field(name).type
    if not (_holds_bytes(kind) or _is_struct(kind)):
        raise InputError(
            f"{uri}: column {name!r} holds {kind}, and neither the bytes of pictures nor a struct "
            "of bytes and path. Neither paths nor URLs are opened.",
            f"Write the pictures' bytes into it. {hint}",
        )


def pictures_of(column: pa.Array) -> Sequence[bytes | Elsewhere | None]:
    """Of each row a picture's bytes; None: it has none."""
    if not pat.is_struct(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    held, paths = (_field(column, name) for name in ("bytes", "path"))
    return [
        Elsewhere() if picture is None and path else picture
        for picture, path in zip(held, paths, strict=True)
    ]


def _field(column: pa.StructArray, name: str) -> Sequence[bytes | None]:
    """A field's values, None where its struct is null; of texts the bytes, which may be any."""
    number = column.type.get_field_index(name)
    if number < 0:
        return [None] * len(column)
    values = column.flatten()[number]
    if pat.is_string(values.type) or pat.is_large_string(values.type):
        values = values.cast(pa.large_binary())
    return values.to_pylist()  # type: ignore[no-any-return]


def _is_struct(kind: pa.DataType) -> bool:
    if not pat.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    names = {kind.field(number).name for number in range(kind.num_fields)}
    path = kind.get_field_index("path")
    text = path < 0 or _is_text(kind.field(path).type)
    return names <= {"bytes", "path"} and text and _holds_bytes(kind.field("bytes").type)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pat.is_string(kind) or pat.is_large_string(kind) or pat.is_null(kind))


def _holds_bytes(kind: pa.DataType) -> bool:
    tests = (pat.is_binary, pat.is_large_binary, pat.is_binary_view)
    return any(test(kind) for test in tests)
