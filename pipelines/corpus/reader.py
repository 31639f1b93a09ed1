"""The rows of a slice, as they come: nothing is judged here but whether they can be read."""

from collections.abc import Iterator

from pipelines.core.protocols import SourceOpener
from pipelines.core.settings import CorpusSettings
from pipelines.corpus.columns import read_columns
from pipelines.corpus.jsonlines import read_lines
from pipelines.corpus.rows import SourceRow
from pipelines.corpus.slices import Slice

__all__ = ["SourceRow", "read_slice"]


def read_slice(piece: Slice, opener: SourceOpener, columns: CorpusSettings) -> Iterator[SourceRow]:
    """The slice's rows in order, with bounded memory.

    Args:
        piece: what to read.
        opener: opens its file.
        columns: names of the id, title and text columns; the title's may be absent.

    Raises:
        InputError: a column is missing or of a type that cannot hold what it should, or the file
            is damaged. What is wrong with one row becomes its `problem` instead.
        RunFailed: reading failed, and may succeed another time.
    """
    read = read_columns if piece.format == "parquet" else read_lines
    return read(piece, opener, columns)
