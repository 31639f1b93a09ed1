"""Tables that are more than their files: look-alikes of what the engines write, refused by name."""

import os
from pathlib import Path

import pytest

from shardrank.core.errors import InputError
from shardrank.core.settings import S3Settings
from shardrank.storage import Sources

SOURCES = Sources(S3Settings())
LINE = b'{"_id": "a", "text": "b"}\n'

#: As deltalake 1.6.6, pyiceberg 0.12.0, pylance 14.0.2, datasets 5.2 and Spark leave them.
LAYOUTS = {
    "a Delta Lake table": (
        "_delta_log/00000000000000000000.json",
        "_delta_log/00000000000000000001.json",
        "lang=en/part-00000-13fd5719-c000.snappy.parquet",
    ),
    "an Iceberg table": (
        "metadata/00001-06653267-0eef.metadata.json",
        "metadata/snap-2236982360987932584-0-ad811fdd.avro",
        "data/00000-0-7de61422.parquet",
    ),
    "a Hudi table": (".hoodie/hoodie.properties", "2024/01/8a2f_0-1-0_20240101.parquet"),
    "a Lance dataset": (
        "_versions/18446744073709551614.manifest",
        "_transactions/0-edeac785.txn",
        "data/101001111100000111100111.lance",
    ),
    "a dataset that datasets saved": (
        "dataset_info.json",
        "state.json",
        "data-00000-of-00001.arrow",
    ),
    "where a job of Spark or Hadoop is still writing": (
        "_temporary/0/task_2024_m_000001/part-00001.parquet",
        "part-00000.parquet",
    ),
    "the sink of a stream of Spark": ("_spark_metadata/0", "part-00000.parquet"),
}


def make(root: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(LINE)


@pytest.mark.parametrize("what", LAYOUTS)
@pytest.mark.parametrize("way", ["itself", "above", "glob", "star", "beside", "linked", "file"])
def test_a_table_is_refused_by_name(tmp_path: Path, what: str, way: str) -> None:
    table = tmp_path / "lake" / "docs"
    make(table, LAYOUTS[what])
    last = LAYOUTS[what][-1]
    (tmp_path / "link").symlink_to((table / last).parent)
    named = {
        "itself": table,
        "above": tmp_path / "lake",
        "glob": f"{table}/**/*{Path(last).suffix}",
        "star": f"{tmp_path}/lake/*/{last[:-5]}*",
        "beside": (table / last).parent,
        "linked": tmp_path / "link",
        "file": table / last,
    }
    with pytest.raises(InputError) as refused:
        SOURCES.listing(str(named[way]), allow_unread=True)
    assert f"{table} is {what}" in refused.value.message
    assert refused.value.hint
    assert "{folder}" not in refused.value.hint


def test_a_link_within_a_corpus_into_a_table(tmp_path: Path) -> None:
    make(tmp_path / "table", LAYOUTS["a Delta Lake table"])
    make(tmp_path / "corpus", ("a.jsonl",))
    (tmp_path / "corpus" / "en").symlink_to(tmp_path / "table" / "lang=en")
    with pytest.raises(InputError, match="table is a Delta Lake table"):
        SOURCES.list(str(tmp_path / "corpus"))


def test_an_empty_folder_of_an_unfinished_write(tmp_path: Path) -> None:
    make(tmp_path, ("part-00000.parquet",))
    (tmp_path / "_temporary" / "0").mkdir(parents=True)
    with pytest.raises(InputError, match="still writing"):
        SOURCES.list(str(tmp_path))


@pytest.mark.parametrize(
    "files",
    [
        ("metadata/about.json", "data/a.parquet"),
        ("dataset_info.json", "a.jsonl"),
        ("_SUCCESS", "lang=en/part-0.parquet"),
        ("_versions.md", "data/a.parquet"),
    ],
)
def test_what_only_looks_a_little_like_one(tmp_path: Path, files: tuple[str, ...]) -> None:
    make(tmp_path, files)
    assert files[-1] in [os.path.relpath(e.key, tmp_path) for e in SOURCES.list(str(tmp_path))]
