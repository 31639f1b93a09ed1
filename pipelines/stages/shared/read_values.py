"""What an encoder of a further column reads of a part: its texts, or another column."""

from dataclasses import dataclass

import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.text import passage_text
from shardrank.stages.run.workspace import Workspace
from shardrank.version.parts import Part


@dataclass(frozen=True)
class Read:
    """A part's passages, the file of the column that is read (none: its texts are), and which of
    its rows are deleted."""

    passages: FileRef
    values: FileRef | None
    deleted: FileRef | None

    @classmethod
    def of(cls, part: Part, column: str | None) -> "Read":
        values = None if column is None else part.columns[column].file
        return cls(part.passages, values, part.deleted)

    @property
    def rows(self) -> int:
        return self.passages.rows


def read_values(workspace: Workspace, read: Read) -> pa.Array:
    """Of each passage its title and text as one string, or its value in the column."""
    if read.values is None:
        passages = workspace.read_table(read.passages, ["title", "text"])
        both = zip(passages["title"].to_pylist(), passages["text"].to_pylist(), strict=True)
        return pa.array([passage_text(*each) for each in both], pa.string())
    chunks = workspace.read_table(read.values, ["vector"])["vector"].chunks
    return pa.concat_arrays(chunks)
