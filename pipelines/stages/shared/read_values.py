"""What an encoder of a further column reads of a part: its texts, with its pictures or what was
written about them or without, or another column."""

from dataclasses import dataclass, replace

import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.model_settings import reads_pictures
from shardrank.core.pictured import pictured
from shardrank.core.text import passage_text
from shardrank.core.written import beside, holds_texts
from shardrank.stages.run.workspace import Workspace
from shardrank.version.manifest import StoredEncoder
from shardrank.version.parts import Part


@dataclass(frozen=True)
class Read:
    """A part's passages, the file of the column that is read (none: its texts alone are), which of
    its rows are deleted, and its pictures, where these are read too."""

    passages: FileRef
    values: FileRef | None
    deleted: FileRef | None
    pictures: FileRef | None = None

    @classmethod
    def of(cls, part: Part, encoder: StoredEncoder) -> "Read":
        """What the encoder reads."""
        if encoder.made_of is not None:
            return cls.column(part, encoder.made_of)
        pictures = part.pictures if reads_pictures(encoder.settings) else None
        return replace(cls.texts(part), pictures=pictures)

    @classmethod
    def texts(cls, part: Part) -> "Read":
        """Its passages' titles and texts."""
        return cls(part.passages, None, part.deleted)

    @classmethod
    def column(cls, part: Part, name: str) -> "Read":
        """What a column holds of it."""
        return cls(part.passages, part.columns[name].file, part.deleted)

    @property
    def rows(self) -> int:
        return self.passages.rows


def read_values(workspace: Workspace, read: Read) -> pa.Array:
    """Of each passage its title and text as one string, with its picture beside it where the part's
    are read, or what was written about it where the column holds that; or its value in the
    column."""
    if read.values is None:
        return pictured(_texts(workspace, read), _pictures(workspace, read))
    values = pa.concat_arrays(workspace.read_table(read.values, ["vector"])["vector"].chunks)
    return beside(_texts(workspace, read), values) if holds_texts(values.type) else values


def _texts(workspace: Workspace, read: Read) -> pa.Array:
    passages = workspace.read_table(read.passages, ["title", "text"])
    both = zip(passages["title"].to_pylist(), passages["text"].to_pylist(), strict=True)
    return pa.array([passage_text(*each) for each in both], pa.string())


def _pictures(workspace: Workspace, read: Read) -> pa.Array | None:
    if read.pictures is None:
        return None
    return workspace.read_table(read.pictures)["picture"].combine_chunks()
