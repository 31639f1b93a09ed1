"""Tables and datasets that are more than their files: refused by what marks their folder.

Delta Lake https://github.com/delta-io/delta/blob/master/PROTOCOL.md, Iceberg
https://iceberg.apache.org/spec/, Hudi https://hudi.apache.org/tech-specs/, Lance
https://lance.org/format/table/, datasets' `save_to_disk`; Spark's unfinished and streamed writes.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from shardrank.core.errors import InputError
from shardrank.core.settings import S3Settings
from shardrank.storage.client import s3_children, s3_holds

_AT_ONCE = 16


@dataclass(frozen=True)
class TableFormat:
    """A kind of folder whose files say less, or more, than the table.

    `signs` are what its folder holds, all of them: a folder (`name/`), a file, or a glob of files.
    """

    what: str
    why: str
    signs: tuple[str, ...]
    instead: str


_TO_PARQUET = (
    'Export it as it is now: python -c "import pyarrow.parquet as pq; {imported}; '
    "pq.write_table({table}, 'corpus.parquet')\""
)
_DELTA = _TO_PARQUET.format(
    imported="from deltalake import DeltaTable",
    table="DeltaTable('{folder}').to_pyarrow_table()",
)
_ICEBERG = _TO_PARQUET.format(
    imported="from pyiceberg.table import StaticTable",
    table="StaticTable.from_metadata('{folder}/metadata/NEWEST.metadata.json').scan().to_arrow()",
)
_LANCE = _TO_PARQUET.format(imported="import lance", table="lance.dataset('{folder}').to_table()")
_OLD = "only its log says which files and rows count, and the others bring back what was deleted"

TABLES = (
    TableFormat("a Delta Lake table", _OLD, ("_delta_log/",), _DELTA),
    TableFormat("an Iceberg table", _OLD, ("metadata/*.metadata.json*",), _ICEBERG),
    TableFormat(
        "a Hudi table",
        _OLD,
        (".hoodie/",),
        "Export it as it is now, with Spark: spark.read.format('hudi').load('{folder}')"
        ".write.parquet('corpus')",
    ),
    TableFormat("a Lance dataset", "it holds no Parquet", ("_versions/*.manifest",), _LANCE),
    TableFormat(
        "a dataset that datasets saved with save_to_disk",
        "its Arrow files are not read, and its rows may be a choice from them (state.json)",
        ("state.json", "dataset_info.json"),
        "Export it: python -c \"import datasets; datasets.load_from_disk('{folder}')"
        ".to_parquet('corpus.parquet')\"",
    ),
    TableFormat(
        "where a job of Spark or Hadoop is still writing, or was killed (_temporary)",
        "what is there may be a part of it",
        ("_temporary/",),
        "Wait until the job has ended, or run it again.",
    ),
    TableFormat(
        "the sink of a stream of Spark",
        "only _spark_metadata says which files count, and the others repeat rows",
        ("_spark_metadata/",),
        "Export it, with Spark: spark.read.parquet('{folder}').write.parquet('corpus')",
    ),
)


class Look(Protocol):
    """What can be asked about folders."""

    def folder(self, path: str) -> bool: ...

    def names(self, folder: str) -> Iterable[str]:
        """Of the files directly in it."""


class Disk:
    """A local disk."""

    def folder(self, path: str) -> bool:
        return os.path.isdir(path)

    def names(self, folder: str) -> Iterable[str]:
        try:
            return os.listdir(folder)
        except OSError:  # no folder, or one that may not be listed: it shows no sign
            return []


@dataclass(frozen=True)
class Bucket:
    """S3, asked: a request a sign. What may not be listed shows none, as on a disk."""

    settings: S3Settings

    def folder(self, path: str) -> bool:
        with suppress(PermissionError):
            return s3_holds(self.settings, f"{path}/")
        return False

    def names(self, folder: str) -> Iterable[str]:
        with suppress(PermissionError):
            entries, _ = s3_children(self.settings, folder)
            return [entry.key.rsplit("/", 1)[-1] for entry in entries]
        return []


class Listed:
    """Files that were listed already."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._names: dict[str, list[str]] = {}
        for address in addresses:
            folder, _, name = address.rpartition("/")
            self._names.setdefault(folder, []).append(name)
        self._folders = {above for folder in self._names for above in parents(folder + "/")}

    def folder(self, path: str) -> bool:
        return path in self._folders

    def names(self, folder: str) -> Iterable[str]:
        return self._names.get(folder, ())


def parents(address: str) -> list[str]:
    """The folders above a file, the nearest last; of S3 from the bucket on."""
    root = len("s3://") if address.startswith("s3://") else 0
    ends = [at for at, character in enumerate(address) if character == "/" and at >= root]
    return [address[:end] or "/" for end in ends]


def refuse_tables(look: Look, folders: Iterable[str]) -> None:
    """Raise InputError where one of the folders is that of a table."""
    ordered = sorted(set(folders))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda folder: _table_at(look, folder), ordered))
    for folder, table in zip(ordered, found, strict=True):
        if table:
            raise InputError(
                f"{folder} is {table.what}: {table.why}.", table.instead.format(folder=folder)
            )


def _table_at(look: Look, folder: str) -> TableFormat | None:
    kinds = (table for table in TABLES if all(_shows(look, folder, sign) for sign in table.signs))
    return next(kinds, None)


def _shows(look: Look, folder: str, sign: str) -> bool:
    if sign.endswith("/"):
        return look.folder(f"{folder.rstrip('/')}/{sign[:-1]}")
    inside, _, pattern = f"{folder.rstrip('/')}/{sign}".rpartition("/")
    return any(fnmatchcase(name, pattern) for name in look.names(inside))
