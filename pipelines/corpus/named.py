"""Columns that the settings name and no file has: misspelt, not absent."""

from collections.abc import Collection, Sequence

from shardrank.core.errors import InputError
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.parquet_rows import check_schema
from shardrank.corpus.partitions import path_columns
from shardrank.corpus.slices import SourceFile

_SHOWN = 30


def known_names(files: Sequence[SourceFile], columns: CorpusSettings) -> set[str]:
    """Names of columns that schemas and paths say, before a row is read.

    Raises InputError where a schema cannot serve, see `check_schema` and `path_columns`; or where
    a file cannot hold pictures that are asked for.
    """
    names: set[str] = set()
    for file in files:
        given = path_columns(file.uri, columns)
        names.update(given)
        if file.schema is None and columns.image:
            raise InputError(
                f"corpus.image = {columns.image!r}, and {file.uri} is JSON Lines, which holds no "
                "pictures: paths and URLs in it are not opened.",
                "Write the rows as Parquet with a binary column, or leave corpus.image out.",
            )
        if file.schema is not None:
            check_schema(file.uri, file.schema, columns, given)
            names.update(file.schema.names)
    return names


def named(names: Collection[str], columns: CorpusSettings) -> list[str]:
    """Those of the names that the settings ask for as title or tombstone, or as the text beside
    pictures."""
    texts = {columns.text} if columns.image else set()
    return sorted({columns.title, columns.tombstone or "", *texts} & set(names))


def refuse_absent(names: Collection[str], columns: CorpusSettings, met: Collection[str]) -> None:
    """Raise InputError where a title or tombstone that was asked for is in no file.

    The title of the default name may be absent everywhere; id and text are looked for file by file.
    Nor is one missed that an earlier run has `met`: a night without deletions has no tombstone. But
    beside pictures texts may be absent, and are missed where they were met before: documents would
    lose them.
    """
    wanted = {"tombstone": columns.tombstone}
    if columns.title != CorpusSettings().title:
        wanted["title"] = columns.title
    if columns.image and columns.tombstone not in names:
        given = columns.text != CorpusSettings().text or columns.text in met
        wanted["text"] = columns.text if given else None
    for setting, name in wanted.items():
        known = {*names, *met} if setting != "text" else names
        if name is not None and name not in known:
            shown = sorted(names)[:_SHOWN]
            more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
            raise InputError(
                f"No file has a column {name!r} (corpus.{setting}); there are "
                f"{', '.join(shown)}{more}.",
                f"Name the right one: --set corpus.{setting}=NAME; or leave the setting out, where "
                "no row has one this time.",
            )
