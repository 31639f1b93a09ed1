"""S3 only: answers that get lost, large files, settings, and listings that lag behind."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from shardrank.core.errors import CommitConflict, CommitStateUnknown, InputError, RunFailed
from shardrank.core.files import FileRef
from shardrank.core.protocols import Entry, Storage
from shardrank.core.settings import S3Settings
from shardrank.core.tally import take
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import latest_version, version_numbers
from shardrank.storage import LocalStorage, S3Storage, Sources
from shardrank.storage.client import filesystem
from tests.faults import Faults, failing

LARGE = bytes(range(256)) * (11 << 12)  # 11 MiB: two parts of 5 and one of 1


class FlakyFileSystem:
    """Stands before s3fs: the first create succeeds (or not), and its answer is lost."""

    def __init__(self, stored: bytes | None) -> None:
        self.stored, self.creates = stored, 0

    def pipe_file(self, path: str, data: bytes, chunksize: int, mode: str) -> None:
        self.creates += 1
        if self.stored is not None:
            raise OSError(22, "At least one of the pre-conditions you specified did not hold")
        if self.creates < 3:
            raise OSError(16, "Please reduce your request rate")
        self.stored = data

    def cat_file(self, path: str) -> bytes:
        if self.stored is None:
            raise FileNotFoundError(path)
        return self.stored


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes | None], FlakyFileSystem]:
    def install(stored: bytes | None) -> FlakyFileSystem:
        double = FlakyFileSystem(stored)
        monkeypatch.setattr("shardrank.storage.s3.filesystem", lambda settings: double)
        monkeypatch.setattr("shardrank.storage.s3.time.sleep", lambda _: None)
        return double

    return install


def test_our_own_success_is_no_conflict(flaky: Callable[[bytes | None], FlakyFileSystem]) -> None:
    flaky(b"ours")
    S3Storage("s3://b/p", S3Settings()).create("k", b"ours")


def test_anothers_success_is_a_conflict(flaky: Callable[[bytes | None], FlakyFileSystem]) -> None:
    flaky(b"theirs")
    with pytest.raises(CommitConflict):
        S3Storage("s3://b/p", S3Settings()).create("k", b"ours")


def test_transient_errors_are_tried_again(
    flaky: Callable[[bytes | None], FlakyFileSystem],
) -> None:
    double = flaky(None)
    S3Storage("s3://b/p", S3Settings()).create("k", b"ours")
    assert (double.creates, double.stored) == (3, b"ours")


def test_create_that_cannot_be_looked_at_is_unknown(
    flaky: Callable[[bytes | None], FlakyFileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    double = flaky(b"ours")

    def unreachable(path: str) -> bytes:
        raise OSError(5, "Connection lost")

    monkeypatch.setattr(double, "cat_file", unreachable)
    with pytest.raises(CommitStateUnknown, match="Connection lost"):
        S3Storage("s3://b/p", S3Settings()).create("k", b"ours")


def test_a_body_damaged_on_its_way_is_read_again(
    flaky: Callable[[bytes | None], FlakyFileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    double, answers = flaky(b""), [b"gar", b"garbage", b"content"]
    monkeypatch.setattr(double, "cat_file", lambda path: answers.pop(0))
    good = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert S3Storage("s3://b/p", S3Settings()).read_checked(FileRef("k", 7, good)) == b"content"


@pytest.mark.parametrize(("size", "uploads"), [(len(LARGE), 2), (100, 1)])
def test_a_large_upload_whose_last_answer_was_lost_is_sent_again(
    flaky: Callable[[bytes | None], FlakyFileSystem],
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    uploads: int,
) -> None:
    """S3 then says that there is no such upload; of a small file, that there is no bucket."""
    double, sent = flaky(None), []

    def pipe_file(path: str, data: bytes, chunksize: int, mode: str) -> None:
        sent.append(len(data))
        if len(sent) == 1:
            raise FileNotFoundError(path)

    monkeypatch.setattr(double, "pipe_file", pipe_file)
    storage = S3Storage("s3://b/p", S3Settings(part_mb=5))
    if uploads == 1:
        with pytest.raises(InputError, match="no such object"):
            storage.write("k", LARGE[:size])
    else:
        storage.write("k", LARGE[:size])
    assert sent == [size] * uploads


@pytest.fixture
def s3(storage: Storage) -> S3Storage:
    if not isinstance(storage, S3Storage):
        pytest.skip("local disk has no multipart uploads")
    return replace(storage, settings=storage.settings.model_copy(update={"part_mb": 5}))


def test_large_files_go_up_in_parts(s3: S3Storage) -> None:
    ref = s3.write("large", LARGE)
    assert s3.read_checked(ref) == LARGE
    [entry] = s3.list("")
    assert entry.version.endswith("-3"), "the ETag of a multipart upload counts its parts"


def test_a_large_file_made_in_pieces_goes_up_in_parts(s3: S3Storage) -> None:
    pieces = (LARGE[at : at + (1 << 20)] for at in range(0, len(LARGE), 1 << 20))
    assert s3.read_checked(Workspace(s3).write_pieces("large", pieces, rows=0)) == LARGE


def test_an_upload_that_was_cut_off_is_not_seen(s3: S3Storage) -> None:
    bucket, _, prefix = s3.root.removeprefix("s3://").partition("/")
    files, place = filesystem(s3.settings), {"Bucket": bucket, "Key": f"{prefix}/large"}
    upload = files.call_s3("create_multipart_upload", **place)["UploadId"]
    part = {"PartNumber": 1, "UploadId": upload, "Body": LARGE[: 5 << 20]}
    files.call_s3("upload_part", **place, **part)
    assert s3.list("") == []
    assert not s3.exists("large")
    s3.write("large", LARGE)
    assert s3.read("large") == LARGE


def test_where_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    settings = S3Settings(endpoint="http://127.0.0.1:9", attempts=1, timeout=1)
    monkeypatch.setattr(filesystem(settings), "retries", 1)
    with pytest.raises(RunFailed, match=r"127\.0\.0\.1:9") as refused:
        S3Storage("s3://bucket/x", settings).read("k")
    assert "s3.endpoint" in refused.value.hint


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises((InputError, RunFailed), match="nobody"):
        S3Storage("s3://bucket/x", S3Settings(profile="nobody")).read("k")


@dataclass(frozen=True)
class Lagging(LocalStorage):
    """Lists nothing that was written: an object store whose listings lag."""

    def list(self, prefix: str) -> list[Entry]:
        return []


def test_versions_that_a_listing_does_not_show_are_found(tmp_path: object) -> None:
    workspace = Workspace(Lagging(str(tmp_path)))
    assert latest_version(workspace) is None
    for number in (1, 2, 3):
        workspace.storage.create(f"manifests/{number:06d}.json", b"{}")
    assert version_numbers(workspace) == [1, 2, 3]


class RefusesFirst(Faults):
    """One request is asked for again."""

    def draw(self) -> str:
        with self.lock:
            self.counts["all"] += 1
            return "503 before" if self.counts["all"] == 1 else "none"


def test_traffic_is_counted(s3: S3Storage) -> None:
    """As it goes by: also where it is sent again, and not what HEAD says of a length."""
    endpoint = str(s3.settings.endpoint)
    with failing(endpoint, RefusesFirst(0.0, 1, 0.0)) as proxy:
        again = replace(s3, settings=s3.settings.model_copy(update={"endpoint": proxy}))
        take()
        again.write("k", bytes(5000))
        sent = take()
        assert sent["written:s3"] >= 10_000
        assert sent["retries:s3"] == 1
        assert again.exists("k")
        assert take().get("read:s3", 0) < 5000
        again.read("k")
        assert 5000 <= take()["read:s3"] < 6000
        s3.write("large", LARGE)
        assert take()["written:s3"] >= len(LARGE)


def test_local_traffic_is_counted(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    take()
    storage.write("k", bytes(5000))
    storage.read("k")
    with Sources(S3Settings()).open(str(tmp_path / "k")) as file:
        assert (len(file.read(10)), len(file.read())) == (10, 4990)
    assert take() == {"written:local": 5000, "read:local": 10_000}
