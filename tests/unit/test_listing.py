"""Which files of a folder or glob are read, and why the others are not."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.errors import InputError
from shardrank.core.settings import S3Settings
from shardrank.core.source_files import Listing, name_format, why_left_out
from shardrank.storage import Sources

SOURCES = Sources(S3Settings())
LINE = b'{"_id": "a", "text": "b"}\n'


def put(root: Path, *names: str, data: bytes = LINE) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def read(listing: Listing, root: Path) -> list[str]:
    return [os.path.relpath(entry.key, root) for entry in listing.read]


def left(listing: Listing, root: Path) -> dict[str, str]:
    return {os.path.relpath(one.address, root): one.reason for one in listing.left_out}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.pq", ("parquet", "")),
        ("part-0.c000.snappy.parquet", ("parquet", "")),
        ("a.jl", ("jsonl", "")),
        ("a.jsonlines.gz", ("jsonl", "gzip")),
        ("a.JL.ZST", ("jsonl", "zstd")),
        ("a.parquet.gz", None),
        ("a.jsonl.bz2", None),
        ("x/dataset_info.json", None),
        ("readme.jsonl", ("jsonl", "")),
    ],
)
def test_the_same_formats_by_other_names(name: str, expected: tuple[str, str] | None) -> None:
    assert name_format(name) == expected


@pytest.mark.parametrize(
    ("path", "reason", "data"),
    [
        ("a.csv", ".csv is not read", True),
        ("a.jsonl.bz2", ".jsonl.bz2 is not read", True),
        ("a.parquet.gz", ".parquet.gz is not read", True),
        ("a.jsonl.tmp", ".jsonl.tmp is not read", True),
        ("a.arrow", ".arrow is not read", True),
        ("notes.txt", ".txt is not read", True),
        ("part-00000", "its name says no format", True),
        ("qrels/test.tsv", "judgements, by its name", False),
        ("qrels.dev.tsv", "judgements, by its name", False),
        ("test.tsv", ".tsv is not read", True),
        ("README", "about the data, by its name", False),
        ("LICENSE.txt", "about the data, by its name", False),
        ("sub/README.md", "about the data, by its name", False),
        ("dataset_info.json", "about the data, by its name", False),
        ("a.parquet.crc", "about the data, by its name", False),
        ("sub_$folder$", "about the data, by its name", False),
        ("_SUCCESS", "hidden: a name that begins with . or _", False),
        ("_metadata", "hidden: a name that begins with . or _", False),
        (".a.jsonl", "hidden: a name that begins with . or _", False),
        ("_old/a.jsonl", "hidden: a name that begins with . or _", False),
    ],
)
def test_why_a_file_is_left_out(path: str, reason: str, data: bool) -> None:
    found = why_left_out(f"/base/{path}", path.split("/"), 7)
    assert found
    assert (found.reason, found.data) == (reason, data)


def test_an_empty_file_of_no_format_loses_nothing() -> None:
    found = why_left_out("s3://b/data", ["data"], 0)
    assert found
    assert not found.data


@pytest.mark.parametrize("path", ["_lang=en/a.jsonl", "readme.jsonl", "authors.parquet"])
def test_what_is_not_left_out(path: str) -> None:
    assert why_left_out(f"/base/{path}", path.split("/"), 7) is None


def test_what_looks_like_data_stops_the_run_unless_allowed(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", "b.jsonl.bz2", "sub/c.csv", "README.md", "_SUCCESS")
    with pytest.raises(InputError) as refused:
        SOURCES.list(str(tmp_path))
    assert "2 file(s) that look like data" in refused.value.message
    assert f"{tmp_path}/b.jsonl.bz2: .jsonl.bz2 is not read" in refused.value.message
    assert f"{tmp_path}/sub/c.csv: .csv is not read" in refused.value.message
    assert "README" not in refused.value.message
    assert "corpus.allow_unread=true" in refused.value.hint
    allowed = SOURCES.listing(str(tmp_path), allow_unread=True)
    assert read(allowed, tmp_path) == ["a.jsonl"]
    assert set(left(allowed, tmp_path)) == {"b.jsonl.bz2", "sub/c.csv", "README.md", "_SUCCESS"}
    assert read(SOURCES.listing(f"{tmp_path}/*.jsonl"), tmp_path) == ["a.jsonl"]


def test_a_glob_means_files_and_says_what_its_folders_hold(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", "sub/b.jsonl", "sub/deep/c.jsonl")
    with pytest.raises(InputError, match=r"sub/b\.jsonl: in a folder that the glob matches"):
        SOURCES.list(f"{tmp_path}/*")
    assert read(SOURCES.listing(f"{tmp_path}/*.jsonl"), tmp_path) == ["a.jsonl"]
    assert read(SOURCES.listing(f"{tmp_path}/*/*.jsonl"), tmp_path) == ["sub/b.jsonl"]
    everything = ["a.jsonl", "sub/b.jsonl", "sub/deep/c.jsonl"]
    for pattern in ("**", "**/*", "**/*.jsonl"):
        assert read(SOURCES.listing(f"{tmp_path}/{pattern}"), tmp_path) == everything


@pytest.mark.parametrize("pattern", ["", "/**", "/**/*", "/**/*.jsonl"])
def test_links_are_followed_alike(tmp_path: Path, pattern: str) -> None:
    root, aside = tmp_path / "root", tmp_path / "aside"
    put(root, "a.jsonl", "sub/b.jsonl")
    put(aside, "c.jsonl")
    (root / "linked").symlink_to(aside)
    (root / "sub" / "up").symlink_to(root)
    (root / "latest.jsonl").symlink_to(root / "a.jsonl")
    (root / "again").symlink_to(root / "sub")
    found = SOURCES.listing(f"{root}{pattern}")
    assert read(found, root) == ["a.jsonl", "linked/c.jsonl", "sub/b.jsonl"]
    ways = left(found, root)
    assert ways["latest.jsonl"] == f"the same file as {root}/a.jsonl"
    assert ways["again/b.jsonl"] == f"the same file as {root}/sub/b.jsonl"
    if pattern != "/**/*.jsonl":
        assert ways["sub/up"] == "a link to a folder above it"
    assert not found.unread


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl")
    os.mkfifo(tmp_path / "b.jsonl")
    with pytest.raises(InputError, match=r"b\.jsonl: a pipe, a socket or a device"):
        SOURCES.list(str(tmp_path))


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.jsonl")).write_bytes(LINE)
    with pytest.raises(InputError, match=r"b\\udcff\.jsonl: its name is no UTF-8"):
        SOURCES.list(str(tmp_path))


# Any tree: nothing is lost, nothing is read twice, folder and glob agree.

FOLDERS = st.sampled_from([".", "a", "a/b", "_c", ".d", "lang=en", "_lang=de", "qrels", "a[1]"])
NAMES = st.sampled_from(
    [
        *("1.jsonl", "2.JL.gz", "3.pq", "4.csv", "5", "README.md", "_SUCCESS", ".x.json"),
        *("test.tsv", "6.parquet.gz", "x.crc", "7*.json", "[8].ndjson", "data\n.json"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    files=st.sets(st.tuples(FOLDERS, NAMES), min_size=1, max_size=12),
    links=st.sets(st.tuples(FOLDERS, st.sampled_from(["l1", "l2.jsonl"]), FOLDERS), max_size=3),
    alias=st.sets(st.tuples(FOLDERS, st.sampled_from(["f1.jsonl", "f2.csv"])), max_size=2),
)
def test_every_file_is_read_or_left_out_once(
    files: set[tuple[str, str]],
    links: set[tuple[str, str, str]],
    alias: set[tuple[str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        put(root, *(f"{parent}/{name}" for parent, name in files))
        for parent, name, target in links:
            link = root / parent / name
            link.parent.mkdir(parents=True, exist_ok=True)
            (root / target).mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(root / target)
        first = "/".join(sorted(files)[0])
        for parent, name in alias:
            (root / parent).mkdir(parents=True, exist_ok=True)
            (root / parent / name).symlink_to(root / first)
        outcome = listed(str(root))
        assert outcome == listed(f"{root}/**/*") == listed(f"{root}/**")
        if isinstance(outcome, str):
            assert "no Parquet or JSON Lines file" in outcome
            return
        reads = [entry.key for entry in outcome.read]
        outs = [one.address for one in outcome.left_out]
        assert len({*reads, *outs}) == len(reads) + len(outs)
        assert len({os.path.realpath(path) for path in reads}) == len(reads)
        there = {os.path.realpath(root / parent / name) for parent, name in files}
        assert {os.path.realpath(path) for path in reads + outs if os.path.isfile(path)} == there
        wanted = {
            os.path.realpath(root / parent / name)
            for parent, name in files
            if not why_left_out(name, Path(parent, name).parts, 1)
        }
        assert wanted <= {os.path.realpath(path) for path in reads}


def listed(uri: str) -> Listing | str:
    try:
        return SOURCES.listing(uri, allow_unread=True)
    except InputError as error:
        return error.message.partition("' holds ")[2]
