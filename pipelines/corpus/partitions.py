"""Columns that a path holds and its file may not: Hive's partitions, `lang=en/part-0.parquet`.

As `pyarrow.dataset` reads them with partitioning="hive", but as text, and only where a setting
names them: names and values are URL-decoded, and what the path says comes before the file.
"""

from collections.abc import Mapping
from urllib.parse import unquote

from shardrank.core.errors import InputError
from shardrank.core.settings import CorpusSettings

_NULL = "__HIVE_DEFAULT_PARTITION__"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

Given = Mapping[str, str | bool | None]


def path_columns(uri: str, columns: CorpusSettings) -> Given:
    """The values, by column, that a file's path gives to columns that the settings name.

    Raises:
        InputError: the path gives two values to one, or one that is no UTF-8 when it is decoded,
            or to the tombstone one that is no boolean.
    """
    named = {columns.id, columns.title, columns.text, columns.tombstone}
    found: dict[str, str | bool | None] = {}
    for folder in uri.split("/")[:-1]:
        key, equals, value = folder.partition("=")
        name = unquote(key)
        if not equals or name not in named:
            continue
        if name in found:
            raise InputError(f"The path {uri} gives {name!r} twice.", "Rename one of the folders.")
        decoded = None if value == _NULL else _decoded(value, uri)
        found[name] = _boolean(uri, name, decoded) if name == columns.tombstone else decoded
    return found


def _boolean(uri: str, key: str, value: str | None) -> bool | None:
    if value is not None and value.lower() not in _BOOLEANS:
        raise InputError(
            f"The path {uri} says {key}={value}, which is neither true nor false.",
            "Name another column: --set corpus.tombstone=NAME.",
        )
    return None if value is None else _BOOLEANS[value.lower()]


def _decoded(piece: str, uri: str) -> str:
    try:
        return unquote(piece, errors="strict")
    except UnicodeDecodeError:
        raise InputError(
            f"The path {uri} holds {piece!r}, which is no UTF-8 when it is URL-decoded.",
            "Rename the folder.",
        ) from None
