"""Live passages with what was written about them, for people and programs."""

from collections.abc import Iterator

import pyarrow as pa

from shardrank.core.cards import WrittenCard
from shardrank.core.errors import SettingsError
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.version.manifest import Version


def written_texts(workspace: Workspace, version: Version, column: str) -> Iterator[pa.Table]:
    """A table a part: doc_id, passage, title, text, and written (List<string>) of each live
    passage, in its order. Each file is checked when it is reached.

    Raises:
        SettingsError: the version has no such column, or it holds no written texts.
        IntegrityError: while the tables are read: a file is damaged.
    """
    made = version.columns.get(column)
    if made is None or not isinstance(made.card, WrittenCard):
        held = [name for name, e in version.columns.items() if isinstance(e.card, WrittenCard)]
        raise SettingsError(
            f"The version has no column {column!r} of written texts.",
            f"It has: {', '.join(held)}."
            if held
            else "Index with an [[encoder]] of family written.",
        )
    return _tables(workspace, version, column)


def _tables(workspace: Workspace, version: Version, column: str) -> Iterator[pa.Table]:
    for part in version.parts:
        passages = workspace.read_table(part.passages, ["doc_id", "passage", "title", "text"])
        values = workspace.read_table(part.columns[column].file, ["vector"])["vector"]
        live = pa.array(~read_bitmap(workspace, part.deleted, part.rows))
        yield passages.append_column("written", values).filter(live)
