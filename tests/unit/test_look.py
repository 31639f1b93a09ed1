"""A look at a corpus: all of a small one, some of a large one."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.settings import Settings
from shardrank.corpus.slices import Slice, plan_slices
from shardrank.models.cards import read_encoder_card
from shardrank.stages.index import look as looking
from shardrank.stages.index.look import Look, look
from shardrank.storage import Sources

SETTINGS = Settings()
SHORT = [{"_id": str(n), "title": "", "text": "one two three four"} for n in range(40)]
#: Every tenth is of two passages.
MIXED = [
    {"_id": str(n), "title": "", "text": "word " * (400 if n % 10 == 0 else 20)}
    for n in range(2_000)
]


def slices(path: Path) -> list[Slice]:
    sources = Sources(SETTINGS.s3)
    return plan_slices(sources.listing(str(path)).read, sources.open, 1 << 26)


def looked(path: Path) -> Look:
    card = read_encoder_card(SETTINGS.dense)
    found = look(slices(path), path.stat().st_size, SETTINGS, card)
    assert found is not None
    return found


def lines(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_all_of_a_small_corpus_is_looked_at(tmp_path: Path) -> None:
    found = looked(lines(tmp_path / "c.jsonl", SHORT))
    assert (found.documents, found.passages, found.tokens) == (40, 40, 4)
    assert found.texts[0] == "one two three four"


def test_a_large_corpus_is_looked_at_in_many_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lines(tmp_path / "c.jsonl", MIXED)
    whole = looked(path)
    monkeypatch.setattr(looking, "_BYTES", path.stat().st_size // 4)
    some = looked(path)
    assert whole.documents == len(MIXED)
    assert some.documents == pytest.approx(whole.documents, rel=0.1)
    assert some.passages == pytest.approx(whole.passages, rel=0.1)
    assert some.tokens == pytest.approx(whole.tokens, rel=0.1)


def test_rows_of_parquet_are_known(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.Table.from_pylist(SHORT * 25), path)
    assert looked(path).documents == 1_000


def test_a_corpus_without_passages_says_nothing(tmp_path: Path) -> None:
    path = lines(tmp_path / "c.jsonl", [{"_id": "1", "title": "", "text": ""}])
    card = read_encoder_card(SETTINGS.dense)
    assert look(slices(path), path.stat().st_size, SETTINGS, card) is None
