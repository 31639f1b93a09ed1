"""What every storage promises, over local disk, an S3 double, and a real S3 where one is given."""

import gzip
import hashlib
import json
import multiprocessing
import os
import pickle
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.errors import CommitConflict, InputError, IntegrityError, RunFailed
from shardrank.core.files import FileRef
from shardrank.core.protocols import Storage
from shardrank.core.settings import CorpusSettings, S3Settings
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.corpus.reader import SourceRow, read_slice
from shardrank.corpus.slices import plan_slices
from shardrank.stages.run.workspace import Workspace
from shardrank.storage import LocalStorage, Sources, contains, open_storage
from shardrank.storage.sources import READ_AHEAD


def keys(storage: Storage, prefix: str = "") -> list[str]:
    return [entry.key for entry in storage.list(prefix)]


def test_reads_what_it_wrote(storage: Storage) -> None:
    ref = storage.write("a/b.bin", b"one", rows=7)
    assert ref == FileRef("a/b.bin", 3, hashlib.sha256(b"one").hexdigest(), 7)
    assert storage.read("a/b.bin") == storage.read_checked(ref) == b"one"


def test_a_file_made_in_pieces(storage: Storage) -> None:
    workspace = Workspace(storage)
    ref = workspace.write_pieces("a/pieces", (bytes([n]) * 1000 for n in range(3)), rows=3)
    data = b"".join(bytes([n]) * 1000 for n in range(3))
    assert storage.read_checked(ref) == data
    assert ref == storage.write("a/pieces", data, rows=3)
    assert storage.read_checked(workspace.write_pieces("a/none", [], rows=0)) == b""


def test_an_empty_file_is_a_file(storage: Storage) -> None:
    assert storage.read_checked(storage.write("empty", b"")) == b""
    assert storage.exists("empty")


def test_write_replaces_and_changes_the_version(storage: Storage) -> None:
    storage.write("a", b"one")
    [before] = storage.list("")
    storage.write("a", b"two!")
    [after] = storage.list("")
    assert storage.read("a") == b"two!"
    assert (after.bytes, after.version != before.version) == (4, True)


def test_what_does_not_exist(storage: Storage) -> None:
    assert not storage.exists("a")
    assert storage.list("") == storage.list("a/b") == []
    with pytest.raises(InputError, match="a/b could not be read"):
        storage.read("a/b")


def test_a_folder_is_no_file(storage: Storage) -> None:
    storage.write("a/b", b"1")
    assert not storage.exists("a")
    with pytest.raises(InputError):
        storage.read("a")


def test_create_refuses_the_second(storage: Storage) -> None:
    storage.create("m/1.json", b"first")
    with pytest.raises(CommitConflict, match=r"1\.json"):
        storage.create("m/1.json", b"second")
    assert storage.read("m/1.json") == b"first"
    assert keys(storage) == ["m/1.json"]


def test_lock_names_its_holder_and_is_released(storage: Storage) -> None:
    with (
        storage.lock("LOCK"),
        pytest.raises(CommitConflict, match=f"process {os.getpid()} on"),
        storage.lock("LOCK"),
    ):
        pass
    with storage.lock("LOCK"):
        pass


def test_concurrent_creates_have_one_winner(storage: Storage) -> None:
    def attempt(number: int) -> int | None:
        try:
            storage.create("m/1.json", b"run %d" % number)
        except CommitConflict:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [n for n in pool.map(attempt, range(16)) if n is not None]
    assert len(winners) == 1
    assert storage.read("m/1.json") == b"run %d" % winners[0]


def test_list_is_recursive_sorted_and_bound_to_its_folder(storage: Storage) -> None:
    for key in ["b/2", "a/10", "a/2/x", "ab/1", "a/é"]:
        storage.write(key, key.encode())
    assert keys(storage) == ["a/10", "a/2/x", "a/é", "ab/1", "b/2"]
    assert keys(storage, "a") == keys(storage, "a/") == ["a/10", "a/2/x", "a/é"]
    assert keys(storage, "b/2") == [], "a file is no folder"
    assert [entry.bytes for entry in storage.list("ab")] == [4]


def test_list_sees_another_writers_file_at_once(storage: Storage) -> None:
    other = pickle.loads(pickle.dumps(storage))
    assert keys(storage) == []
    assert not storage.exists("a")
    other.write("a", b"1")
    assert keys(storage) == ["a"]
    assert storage.exists("a")


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [(b"flipqed", "sha256"), (b"trunc", "7 bytes, found 5"), (b"", "found 0")],
)
def test_checked_read_refuses_other_bytes(storage: Storage, stored: bytes, complaint: str) -> None:
    ref = storage.write("a", b"flipped")
    storage.write("a", stored)
    with pytest.raises(IntegrityError, match=complaint):
        storage.read_checked(ref)


def test_checked_read_of_a_lost_file(storage: Storage) -> None:
    with pytest.raises(IntegrityError, match="missing"):
        storage.read_checked(FileRef("gone", 1, "0" * 64))


def test_delete_twice(storage: Storage) -> None:
    storage.write("a/b", b"1")
    storage.delete("a/b")
    storage.delete("a/b")
    assert not storage.exists("a/b")


def test_travels_by_pickle(storage: Storage) -> None:
    ref = storage.write("a", b"1")
    assert pickle.loads(pickle.dumps(storage)).read_checked(ref) == b"1"


@pytest.mark.parametrize(
    "key", ["", "/a", "../a", "a/../../b", "a//b", "a/.", "a\\b", "a/\0", "a/"]
)
def test_keys_that_escape_are_refused(storage: Storage, key: str) -> None:
    for attempt in (storage.read, storage.exists, storage.delete):
        with pytest.raises(InputError):
            attempt(key)
    with pytest.raises(InputError):
        storage.write(key, b"")
    with pytest.raises(InputError):
        storage.create(key, b"")


def test_sources_of_a_storage(storage: Storage, sources: Sources) -> None:
    for key in [
        "b.jsonl",
        "sub/a.parquet",
        "c.JSON.gz",
        "d.md",
        "_x.jsonl",
        ".y.jsonl",
        "_z/q.json",
    ]:
        storage.write(key, key.encode())
    found = sources.list(storage.root)
    base = storage.root + "/"
    assert [e.key for e in found] == [base + k for k in ["b.jsonl", "c.JSON.gz", "sub/a.parquet"]]
    assert [e.key for e in sources.list(base + "*.jsonl")] == [base + "b.jsonl"]
    assert [e.key for e in sources.list(base + "**/*.parquet")] == [base + "sub/a.parquet"]
    assert [e.key for e in sources.list(base + "_x.jsonl")] == [base + "_x.jsonl"]
    with sources.open(found[0].key) as stream:
        stream.seek(2)
        assert stream.read() == b"jsonl"


def test_slices_of_sources(storage: Storage, sources: Sources) -> None:
    documents = [{"_id": f"d{n}", "text": f"漢 {n}"} for n in range(500)]
    lines = "".join(json.dumps(d, ensure_ascii=False) + "\n" for d in documents).encode()
    storage.write("in/a.jsonl", lines)
    storage.write("in/b.jsonl.gz", gzip.compress(lines))
    storage.write("in/c.parquet", encode_table(pa.Table.from_pylist(documents)))
    pieces = plan_slices(sources.list(f"{storage.root}/in"), sources.open, 5000)
    assert len(pieces) > 5
    rows = [row for p in pieces for row in read_slice(p, sources.open, CorpusSettings())]
    assert [row.doc_id for row in rows] == [d["_id"] for d in documents] * 3
    assert [row.text for row in rows] == [d["text"] for d in documents] * 3


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_slices_of_s3_fetch_little_that_they_do_not_read(
    storage: Storage, sources: Sources, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(storage, LocalStorage):
        pytest.skip("a disk is read as asked")
    from s3fs.core import S3File

    texts = [random.Random(n).randbytes(250_000).hex() for n in range(48)]  # 24 MB
    documents = [{"_id": f"d{n}", "text": text} for n, text in enumerate(texts)]
    table, sink = pa.Table.from_pylist(documents), pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=12, compression="none", use_dictionary=False)
    lines = "".join(json.dumps(d) + "\n" for d in documents).encode()
    data = lines if kind == "jsonl" else sink.getvalue().to_pybytes()
    storage.write(f"in/a.{kind}", data)
    fetched, fetch = [], S3File._fetch_range

    def counting(file: S3File, start: int, end: int) -> bytes:
        fetched.append(end - start)
        return bytes(fetch(file, start, end))

    monkeypatch.setattr(S3File, "_fetch_range", counting)
    columns = CorpusSettings(slice_bytes=len(data) // 4 + 1)
    pieces = plan_slices(sources.list(f"{storage.root}/in"), sources.open, columns.slice_bytes)
    assert len(pieces) == 4
    rows = [row for piece in pieces for row in read_slice(piece, sources.open, columns)]
    assert [row.text for row in rows] == texts
    assert sum(fetched) <= len(data) + len(pieces) * (READ_AHEAD + (2 << 20))


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet"])
def test_a_source_that_changes_under_a_run(storage: Storage, sources: Sources, kind: str) -> None:
    def write(text: str) -> None:
        documents = [{"_id": f"d{n}", "text": text} for n in range(3)]
        lines = "".join(json.dumps(d) + "\n" for d in documents).encode()
        table = encode_table(pa.Table.from_pylist(documents))
        data = {"jsonl": lines, "jsonl.gz": gzip.compress(lines), "parquet": table}
        storage.write(f"in/a.{kind}", data[kind])

    def plan() -> Iterator[SourceRow]:
        [piece] = plan_slices(sources.list(f"{storage.root}/in"), sources.open, 5000)
        return read_slice(piece, sources.open, CorpusSettings())

    write("one")
    before = plan()
    write("two, longer")
    with pytest.raises(InputError, match="changed since this run planned it") as refused:
        next(before)
    assert refused.value.hint == "Run the command again."
    during = plan()
    assert next(during).text == "two, longer"
    write("three, longer still")
    with pytest.raises(InputError, match="changed since this run planned it"):
        list(during)
    assert [row.text for row in plan()] == ["three, longer still"] * 3


def test_the_version_of_a_source_is_the_listed_one(storage: Storage, sources: Sources) -> None:
    storage.write("in/a.jsonl", b"{}")
    [entry] = sources.list(f"{storage.root}/in")
    assert sources.version(entry.key) == entry.version
    sources.open(entry.key, entry.version).close()
    storage.delete("in/a.jsonl")
    with pytest.raises(InputError, match="could not be looked up"):
        sources.version(entry.key)


def test_a_folder_of_documents_and_queries(storage: Storage, sources: Sources) -> None:
    names = ["corpus.jsonl", "queries.jsonl"]
    for key in [*names, "qrels/test.tsv"]:
        storage.write(f"beir/{key}", b"{}")
    folder = f"{storage.root}/beir"
    for spelled in (folder, folder + "/"):
        with pytest.raises(InputError) as refused:
            sources.list(spelled)
        assert all(f"{folder}/{name}" in refused.value.message for name in names)
        assert "Give the file itself" in refused.value.hint
    assert [e.key for e in sources.list(f"{folder}/corpus.jsonl")] == [f"{folder}/corpus.jsonl"]
    assert len(sources.list(f"{folder}/*.jsonl")) == 2, "who writes a glob means it"
    storage.delete("beir/queries.jsonl")
    assert len(sources.list(folder)) == 1


def test_a_folder_of_documents_and_queries_in_folders(storage: Storage, sources: Sources) -> None:
    for key in ["corpus/corpus-0.parquet", "queries/queries-0.parquet"]:
        storage.write(f"hub/{key}", b"")
    with pytest.raises(InputError, match=r"corpus/corpus-0\.parquet and .*/queries-0\.parquet"):
        sources.list(f"{storage.root}/hub")
    assert len(sources.list(f"{storage.root}/hub/corpus")) == 1


def test_sources_that_are_not_there(storage: Storage, sources: Sources) -> None:
    storage.write("d.txt", b"")
    with pytest.raises(InputError, match=r"d\.txt.*Supported"):
        sources.list(storage.root)
    for missing in ["nothing.jsonl", "*.parquet"]:
        with pytest.raises(InputError, match="no file, folder or match"):
            sources.list(f"{storage.root}/{missing}")
    with pytest.raises(InputError):
        sources.open(f"{storage.root}/nothing.jsonl")


def test_other_schemes_are_refused() -> None:
    with pytest.raises(InputError, match="ftp://"):
        open_storage("ftp://host/x", S3Settings())


def test_a_relative_path_means_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(b"{}")
    assert open_storage("x", S3Settings()).root == str(tmp_path / "x")
    assert Sources(S3Settings()).list("a.jsonl")[0].key == str(tmp_path / "a.jsonl")


def test_a_dangling_link_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{}")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"b\.jsonl could not be listed"):
        Sources(S3Settings()).list(str(tmp_path))


@pytest.mark.parametrize("root", ["", "/data/", "s3://bucket/"])
@pytest.mark.parametrize(
    ("outer", "inner", "held"),
    [
        ("docs", "docs", True),
        ("docs/", "docs/index", True),
        ("docs", "docs/", True),
        ("docs", "docs2", False),
        ("docs", "index", False),
        ("docs/corpus", "docs", False),
        ("docs/a.jsonl", "docs/index", False),
        ("docs/*.jsonl", "docs", True),
        ("docs/*.jsonl", "docs/index", False),
        ("docs/*/a.jsonl", "docs/index", True),
        ("docs/part-*/a.jsonl", "docs/index", False),
        ("docs/*/x/*.jsonl", "docs/index/x", True),
        ("docs/new/*.jsonl", "docs", False),
        ("docs/**/*.jsonl", "docs/a/b/index", True),
        ("docs/**/*.jsonl", "index", False),
    ],
)
def test_what_contains_what(root: str, outer: str, inner: str, held: bool) -> None:
    assert contains(root + outer, root + inner) == held


def test_containment_is_of_places_not_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs[1]").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "docs[1]")
    assert contains(".", "index")
    assert contains("docs[1]", str(tmp_path / "docs[1]" / "index"))
    assert contains("link", "docs[1]/index")
    assert contains("docs[1]", "link/index")
    assert not contains("docs[1]/../other", "docs[1]")
    assert not contains("s3://docs", "docs")
    assert contains("s3://bucket", "s3://bucket/index")


# Local disk only: temporary files, locks, full disks.


@pytest.fixture
def local(tmp_path: Path) -> LocalStorage:
    return LocalStorage(str(tmp_path))


@pytest.mark.parametrize("call", ["os.replace", "os.link", "os.fsync"])
def test_a_failure_midway_leaves_nothing(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    local.write("a", b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, full)
    with pytest.raises(RunFailed, match="No space left"):
        local.create("b", b"data") if call == "os.link" else local.write("a", b"after")
    assert local.read("a") == b"before"
    assert os.listdir(local.root) == ["a"]


def test_what_a_kill_leaves_is_not_listed(local: LocalStorage) -> None:
    local.write("a/b", b"")
    Path(local.root, "a", ".0123456789abcdef.tmp").write_bytes(b"half")
    assert keys(local) == ["a/b"]
    with pytest.raises(InputError, match="temporary"):
        local.read("a/.0123456789abcdef.tmp")


def test_a_file_where_a_folder_should_be(local: LocalStorage) -> None:
    local.write("a", b"")
    with pytest.raises(InputError, match="a/b could not be written"):
        local.write("a/b", b"")


def _hold_for_ever(root: str, held: "multiprocessing.synchronize.Event") -> None:
    with LocalStorage(root).lock("LOCK"):
        held.set()
        threading.Event().wait()


def test_lock_dies_with_its_process(local: LocalStorage) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=_hold_for_ever, args=(local.root, held))
    holder.start()
    try:
        assert held.wait(20)
        with pytest.raises(CommitConflict, match=str(holder.pid)), local.lock("LOCK"):
            pass
    finally:
        holder.kill()
        holder.join()
    with local.lock("LOCK"):
        pass


def test_versions_of_sources_follow_their_content(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}")
    before = Sources(S3Settings()).list(str(path))
    path.write_bytes(b"{ }")
    assert Sources(S3Settings()).list(str(path))[0].version != before[0].version
