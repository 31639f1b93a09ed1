"""The look at the first rows of a corpus: only what the run would refuse in any case."""

import io
import json
from collections.abc import Sequence
from typing import BinaryIO

import pytest

from shardrank.core.errors import InputError
from shardrank.core.protocols import Entry
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.heads import LOOKED_INTO, look_at_heads
from shardrank.corpus.slices import plan_files

GOOD, BAD = [{"_id": "a", "text": "one"}], [{"id": "a", "text": "one"}]


def looked_into(files: Sequence[Sequence[object]], columns: CorpusSettings) -> list[str]:
    """Look at files of these rows; the names of those that were opened for it."""
    data = {
        f"{number:02d}.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        for number, rows in enumerate(files)
    }
    opened: list[str] = []

    def opener(uri: str, version: str | None) -> BinaryIO:
        opened.append(uri)
        return io.BytesIO(data[uri])

    entries = [Entry(name, len(held), "v") for name, held in data.items()]
    planned = plan_files(entries, opener, 1 << 20)
    opened.clear()
    look_at_heads(planned, opener, columns)
    return sorted(set(opened))


@pytest.mark.parametrize("first", [[BAD], [GOOD, BAD], [[], BAD]])
def test_a_column_that_a_head_lacks(first: list[list[object]]) -> None:
    with pytest.raises(InputError, match="has no column '_id'; its rows hold id, text"):
        looked_into(first, CorpusSettings())


def test_so_many_files_are_looked_into() -> None:
    files = [*[GOOD] * LOOKED_INTO, BAD]
    assert looked_into(files, CorpusSettings()) == [f"{n:02d}.jsonl" for n in range(LOOKED_INTO)]


@pytest.mark.parametrize("rows", [[], ["no object"], [*["bad"] * 3, *GOOD], [*BAD, *GOOD]])
def test_what_may_come_right_is_let_through(rows: list[object]) -> None:
    assert len(looked_into([rows], CorpusSettings(title="heading"))) == bool(rows)
