"""A look at the first rows of a corpus before any work: a misspelt column is met there already."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

from shardrank.core.protocols import SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.reader import read_slice
from shardrank.corpus.slices import SourceFile

#: Files of JSON Lines that are looked into; a column that is misspelt is so in any of them.
LOOKED_INTO = 8


def look_at_heads(
    files: Sequence[SourceFile], opener: SourceOpener, columns: CorpusSettings
) -> None:
    """Read the head of the first files of JSON Lines, by the rule of who reads them all.

    Raises what `read_slice` raises for the head of a file, such as InputError where its first rows
    all lack the id; what is seen of Parquet's footers is judged before: see `known_names`.
    """
    unseen = [file for file in files if file.schema is None and file.slices][:LOOKED_INTO]
    with ThreadPoolExecutor(LOOKED_INTO) as pool:
        list(pool.map(partial(_look, opener, columns), unseen))


def _look(opener: SourceOpener, columns: CorpusSettings, file: SourceFile) -> None:
    with closing(read_slice(file.slices[0], opener, columns)) as rows:
        next(rows, None)
