"""S3 only: what a folder, a glob or a key stands for."""

import gzip
from typing import Any

import pytest

from shardrank.core.errors import InputError
from shardrank.core.protocols import Storage
from shardrank.core.settings import CorpusSettings
from shardrank.core.source_files import Listing
from shardrank.corpus.reader import read_slice
from shardrank.corpus.slices import plan_slices
from shardrank.storage import S3Storage, Sources, client
from shardrank.storage.client import filesystem

LINE = b'{"_id": "a", "text": "b"}\n'


class Bucket:
    """A folder in S3, into which keys are put as they are given."""

    def __init__(self, storage: S3Storage) -> None:
        self.root, self._files = storage.root, filesystem(storage.settings)

    def put(self, *keys: str, data: bytes = LINE, **more: Any) -> None:
        bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
        for key in keys:
            place = {"Bucket": bucket, "Key": f"{prefix}/{key}"}
            self._files.call_s3("put_object", **place, Body=data, **more)

    def read(self, listing: Listing) -> list[str]:
        return [entry.key.removeprefix(f"{self.root}/") for entry in listing.read]


@pytest.fixture
def bucket(storage: Storage) -> Bucket:
    if not isinstance(storage, S3Storage):
        pytest.skip("a disk has folders of its own")
    return Bucket(storage)


def test_one_version_of_an_object_is_refused(bucket: Bucket, sources: Sources) -> None:
    bucket.put("a.jsonl")
    for look in (sources.list, sources.open, sources.version):
        with pytest.raises(InputError, match="names one version of an object"):
            look(f"{bucket.root}/a.jsonl?versionId=null")


def test_keys_with_empty_names(bucket: Bucket, sources: Sources) -> None:
    bucket.put("x//a.jsonl", "x//y//b.jsonl", "x/c.jsonl", "/d.jsonl")
    every = ["/d.jsonl", "x//a.jsonl", "x//y//b.jsonl", "x/c.jsonl"]
    for way in ("", "/**", "/**/*.jsonl"):
        assert bucket.read(sources.listing(bucket.root + way)) == every
    assert bucket.read(sources.listing(f"{bucket.root}/x/*/*.jsonl")) == ["x//a.jsonl"]
    assert bucket.read(sources.listing(f"{bucket.root}/x//a.jsonl")) == ["x//a.jsonl"]
    for key in every:
        with sources.open(f"{bucket.root}/{key}") as stream:
            assert stream.read() == LINE


def test_an_object_beside_a_folder_of_its_name(bucket: Bucket, sources: Sources) -> None:
    bucket.put("data", "data/a.jsonl", "b.jsonl", "b.jsonl/c.jsonl")
    for name in ("data", "b.jsonl"):
        with pytest.raises(InputError, match=f"{name} is an object, and a folder with") as refused:
            sources.list(f"{bucket.root}/{name}")
        assert f"For the folder write {bucket.root}/{name}/" in refused.value.hint
    assert bucket.read(sources.listing(f"{bucket.root}/data/")) == ["data/a.jsonl"]
    with pytest.raises(InputError, match=r"b\.jsonl/c\.jsonl: in a folder that the glob matches"):
        sources.list(f"{bucket.root}/*.jsonl")
    with pytest.raises(InputError, match="data: its name says no format"):
        sources.list(bucket.root)
    bucket.put("data", data=b"")  # as some tools mark a folder
    assert bucket.read(sources.listing(f"{bucket.root}/data")) == ["data/a.jsonl"]
    every = ["b.jsonl", "b.jsonl/c.jsonl", "data/a.jsonl"]
    assert bucket.read(sources.listing(bucket.root)) == every


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_an_object_with_an_encoding(bucket: Bucket, sources: Sources, name: str) -> None:
    """Only a key's ending says how it is compressed."""
    bucket.put(name, data=gzip.compress(LINE), ContentEncoding="gzip")
    [piece] = plan_slices(sources.list(f"{bucket.root}/{name}"), sources.open, 1 << 20)
    rows = read_slice(piece, sources.open, CorpusSettings())
    if name.endswith(".gz"):
        assert [row.doc_id for row in rows] == ["a"]
        return
    with pytest.raises(InputError, match="its first bytes look like gzip") as refused:
        next(rows)
    assert "Content-Encoding is not looked at" in refused.value.hint


@pytest.mark.parametrize("page", [1000, 2])
def test_what_is_left_out(
    bucket: Bucket, sources: Sources, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    def few(settings: Any, **asked: Any) -> dict[str, Any]:
        return whole(settings, **{"MaxKeys": page, **asked})

    whole = client._page
    monkeypatch.setattr(client, "_page", few)
    bucket.put("a.jsonl", "b.csv", "README.md", "_SUCCESS", "sub/c.parquet.gz", "sub/d.jl")
    bucket.put("x/../e.jsonl", "f.jsonl?versionId=1.jsonl", "sub/", data=b"")
    with pytest.raises(InputError, match=r"4 file\(s\) that look like data"):
        sources.list(bucket.root)
    for way in ("", "/**", "/**/*"):
        found = sources.listing(bucket.root + way, allow_unread=True)
        assert bucket.read(found) == ["a.jsonl", "sub/d.jl"]
        assert len(found.left_out) == 6
    found = sources.listing(f"{bucket.root}/*", allow_unread=True)
    assert bucket.read(found) == ["a.jsonl"]
    assert {one.address.removeprefix(f"{bucket.root}/") for one in found.left_out} == {
        *("README.md", "_SUCCESS", "b.csv", "f.jsonl?versionId=1.jsonl"),
        *("sub/c.parquet.gz", "sub/d.jl", "x/../e.jsonl"),
    }


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (("_delta_log/0.json", "lang=en/part-0.parquet"), "a Delta Lake table"),
        (("metadata/0.metadata.json", "data/part-0.parquet"), "an Iceberg table"),
        (("_versions/1.manifest", "data/0.lance"), "a Lance dataset"),
        (("state.json", "dataset_info.json", "data-0.arrow"), "a dataset that datasets saved"),
        (("_temporary/0/_temporary/part-1.parquet", "part-0.parquet"), "still writing"),
    ],
)
def test_tables(bucket: Bucket, sources: Sources, files: tuple[str, ...], what: str) -> None:
    bucket.put(*(f"lake/docs/{name}" for name in files))
    table, inside = f"{bucket.root}/lake/docs", files[-1].rpartition("/")[0]
    ways = [table, bucket.root, f"{table}/{files[-1]}", f"{table}/{inside}".rstrip("/")]
    ways += [f"{table}/**/*", f"{bucket.root}/*/*/{files[-1].replace('0', '*')}"]
    for way in ways:
        with pytest.raises(InputError, match=what) as refused:
            sources.list(way)
        assert table in refused.value.message


@pytest.mark.parametrize("uri", ["s3://", "s3:///a.jsonl", "s3://none*/a.jsonl"])
def test_an_address_without_a_bucket(sources: Sources, uri: str) -> None:
    with pytest.raises(InputError, match="does not name one bucket"):
        sources.list(uri)
