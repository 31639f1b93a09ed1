"""Columns that only the path has, against pyarrow.dataset; and columns that no file has."""

import json
import urllib.parse
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.errors import InputError
from shardrank.core.settings import CorpusSettings, S3Settings
from shardrank.corpus.named import known_names, refuse_absent
from shardrank.corpus.partitions import path_columns
from shardrank.corpus.reader import SourceRow, read_slice
from shardrank.corpus.slices import plan_files
from shardrank.storage import Sources

SOURCES = Sources(S3Settings())


def rows(folder: Path, columns: CorpusSettings) -> list[SourceRow]:
    files = plan_files(SOURCES.list(str(folder)), SOURCES.open, columns.slice_bytes)
    return [row for f in files for s in f.slices for row in read_slice(s, SOURCES.open, columns)]


def write(path: Path, table: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table(table), path)
    else:
        keys = list(table)
        values = [dict(zip(keys, row, strict=True)) for row in zip(*table.values(), strict=True)]
        path.write_text("".join(json.dumps(value) + "\n" for value in values))


@pytest.mark.parametrize("name", ["part-0.parquet", "part-0.jsonl"])
def test_the_path_says_columns_that_the_settings_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / "lang=en" / "year=2024" / name, {"_id": ["a"], "text": ["x"]})
    write(tmp_path / "lang=a%20b%2Fc" / "year=007" / name, {"_id": ["b"], "text": ["y"]})
    nothing = "lang=__HIVE_DEFAULT_PARTITION__"
    write(tmp_path / nothing / "year=1" / name, {"_id": ["c"], "text": ["z"]})
    found = {r.doc_id: r.title for r in rows(tmp_path, CorpusSettings(title="lang"))}
    assert found == {"a": "en", "b": "a b/c", "c": None}
    found = {r.text: r.doc_id for r in rows(tmp_path, CorpusSettings(id="year"))}
    assert found == {"x": "2024", "y": "007", "z": "1"}, "as text, as it is written"
    assert {r.title for r in rows(tmp_path, CorpusSettings())} == {None}, "else they are ignored"


@pytest.mark.parametrize("name", ["part-0.parquet", "part-0.jsonl"])
def test_a_text_and_a_tombstone_of_the_path(tmp_path: Path, name: str) -> None:
    write(tmp_path / "gone=True" / name, {"_id": ["a"]})
    write(tmp_path / "gone=0" / name, {"_id": ["b"], "text": ["x"]})
    write(tmp_path / "gone=__HIVE_DEFAULT_PARTITION__" / name, {"_id": ["c"], "text": ["x"]})
    found = {r.doc_id: r.tombstone for r in rows(tmp_path, CorpusSettings(tombstone="gone"))}
    assert found == {"a": True, "b": False, "c": None}
    write(tmp_path / "t" / "body=one%20two" / name, {"_id": ["a"]})
    assert rows(tmp_path / "t", CorpusSettings(text="body"))[0].text == "one two"


@pytest.mark.parametrize("name", ["part-0.parquet", "part-0.jsonl"])
def test_the_path_comes_before_the_file(tmp_path: Path, name: str) -> None:
    write(tmp_path / "title=path" / name, {"_id": ["a"], "text": ["x"], "title": [["odd"]]})
    assert rows(tmp_path, CorpusSettings())[0].title == "path"
    write(tmp_path / "p" / "x=path" / "p.parquet", {"x": ["file"]})
    assert ds.dataset(tmp_path / "p", partitioning="hive").to_table()["x"].to_pylist() == ["path"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/d/gone=perhaps/a.jsonl", "says gone=perhaps, which is neither true nor false"),
        ("/d/title=a/title=b/a.jsonl", "gives 'title' twice"),
        ("/d/title=%ff/a.jsonl", "no UTF-8"),
    ],
)
def test_paths_that_cannot_serve(path: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        path_columns(path, CorpusSettings(tombstone="gone"))
    assert path_columns(path, CorpusSettings(title="other")) == {}


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@settings(max_examples=100, deadline=None)
@given(
    key=st.sampled_from(["lang", "a b", "é", "x%y"]),
    value=st.one_of(st.none(), TEXT, st.sampled_from(["a=b", "%zz", "+", "a/b"])),
)
def test_paths_as_pyarrow_reads_them(key: str, value: str | None) -> None:
    quoted = "__HIVE_DEFAULT_PARTITION__" if value is None else urllib.parse.quote(value, safe="")
    folder = f"{urllib.parse.quote(key)}={quoted}"
    hive = ds.partitioning(pa.schema([(key, pa.string())]), flavor="hive")
    expected = ds.get_partition_keys(hive.parse(f"{folder}/"))
    assert path_columns(f"s3://b/{folder}/a.jsonl", CorpusSettings(title=key)) == expected


# Columns that no file has.


def check(folder: Path, columns: CorpusSettings) -> None:
    files = plan_files(SOURCES.list(str(folder)), SOURCES.open, columns.slice_bytes)
    refuse_absent(known_names(files, columns), columns, met=[])


def test_a_misspelt_column_is_known_from_schemas(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"_id": ["a"], "text": ["x"], "headline": ["h"]})
    write(tmp_path / "lang=en" / "b.parquet", {"_id": ["b"], "text": ["x"], "deleted": [False]})
    check(tmp_path, CorpusSettings())
    check(tmp_path, CorpusSettings(title="headline", tombstone="deleted"))
    check(tmp_path, CorpusSettings(title="lang"))
    for setting in ("title", "tombstone"):
        with pytest.raises(InputError) as refused:
            check(tmp_path, CorpusSettings(**{setting: "delete"}))
        assert f"No file has a column 'delete' (corpus.{setting})" in refused.value.message
        assert "_id, deleted, headline, text" in refused.value.message


def test_a_schema_that_cannot_serve_is_refused_before_a_row_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"_id": ["a"], "body": ["x"]})
    with pytest.raises(InputError, match="has no column 'text'; it has _id, body"):
        check(tmp_path, CorpusSettings())
