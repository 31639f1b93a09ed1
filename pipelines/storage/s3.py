"""An S3 bucket (or what speaks its protocol: Ceph, MinIO, R2) as storage, over s3fs.

Endpoint, region and credentials come from the usual AWS environment: AWS_ENDPOINT_URL, AWS_PROFILE,
AWS_ACCESS_KEY_ID and so on. A PUT is atomic, so there are no temporary objects and no renames.
Create is a PUT with If-None-Match: *
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import s3fs
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from pipelines.core.errors import CommitStateUnknown, InputError, RunFailed, ShardrankError
from pipelines.core.fingerprint import sha256_hex
from pipelines.core.protocols import Entry
from pipelines.core.units import FileRef
from pipelines.storage.keys import checked_data, checked_key, checked_prefix, conflict, missing

#: Per request, inside botocore, up to half a minute in all; at 20% 503s three were too few.
REQUEST_ATTEMPTS = 6
CREATE_ATTEMPTS = 5
_FAILURES = (OSError, BotoCoreError, ClientError)
_FINAL = (FileNotFoundError, PermissionError, NoCredentialsError)


def filesystem() -> s3fs.S3FileSystem:
    """The process's own file system; s3fs keeps one for each process and thread.

    Listings are not cached: another writer's files must be seen.
    """
    retries = {"max_attempts": REQUEST_ATTEMPTS, "mode": "standard"}
    return s3fs.S3FileSystem(use_listings_cache=False, config_kwargs={"retries": retries})


@dataclass(frozen=True)
class S3Storage:
    """The objects below `root` = s3://bucket/prefix; implements `pipelines.core.protocols.Storage`.

    All methods raise InputError where bucket, key or permission is missing, and RunFailed where
    the service still fails after the retries.
    """

    root: str

    def read(self, key: str) -> bytes:
        path = self._path(key)
        with explained(path, "read"):
            return _fetch(path)

    def read_checked(self, ref: FileRef) -> bytes:
        path = self._path(ref.key)
        with explained(path, "read"):
            try:
                data = _fetch(path)
            except FileNotFoundError:
                raise missing(path) from None
        return checked_data(data, ref, path)

    def write(self, key: str, data: bytes, rows: int = 0) -> FileRef:
        path = self._path(key)
        with explained(path, "written"):
            filesystem().pipe_file(path, data)
        return FileRef(key, len(data), sha256_hex(data), rows)

    def create(self, key: str, data: bytes) -> None:
        """Write the object only if it does not exist.

        A retried PUT can meet the success of its own first attempt, whose answer was lost. So the
        stored bytes decide: if they are ours, we created it. Data that two runs could both write
        must therefore hold what tells the runs apart.

        Raises:
            CommitConflict: it exists with other bytes.
            CommitStateUnknown: the PUT failed, and so did looking whether it had landed.
        """
        path = self._path(key)
        with explained(path, "created"):
            for attempt in range(CREATE_ATTEMPTS):
                time.sleep(0.0 if attempt == 0 else 0.1 * 2**attempt)
                if _created(path, data, last=attempt == CREATE_ATTEMPTS - 1):
                    return

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with explained(path, "looked up"):
            return bool(filesystem().isfile(path))

    def list(self, prefix: str) -> list[Entry]:
        folder = "/".join(filter(None, [self.root.rstrip("/"), checked_prefix(prefix)]))
        with explained(folder, "listed"):
            found = s3_files(folder)
        skip = len(self.root.rstrip("/")) + 1
        return [replace(entry, key=entry.key[skip:]) for entry in found]

    def delete(self, key: str) -> None:
        path = self._path(key)
        with explained(path, "deleted"):
            filesystem().rm_file(path)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Holds nothing: an object store has no lock that dies with its process.

        None is needed for correct results: units are idempotent, and which of two runs commits is
        decided by `create`. Two runs at once waste work, no more.
        """
        checked_key(key)
        yield

    def _path(self, key: str) -> str:
        return f"{self.root.rstrip('/')}/{checked_key(key)}"


def s3_files(folder: str) -> list[Entry]:
    """All objects below s3://bucket/folder, sorted; keys are full s3:// addresses."""
    found = filesystem().find(folder, detail=True)
    start = folder.rstrip("/") + "/"
    entries = [s3_entry(info) for info in found.values() if not info["name"].endswith("/")]
    return sorted((e for e in entries if e.key.startswith(start)), key=lambda entry: entry.key)


def s3_entry(info: dict[str, Any]) -> Entry:
    """From what s3fs says of an object; the version is its ETag."""
    version = str(info["ETag"]).strip('"')
    modified = info["LastModified"].timestamp()
    return Entry(f"s3://{info['name']}", int(info["size"]), version, modified)


@contextmanager
def explained(path: str, done: str) -> Iterator[None]:
    """Turns the service's errors into ours, with the address."""
    try:
        yield
    except ShardrankError:
        raise
    except FileNotFoundError:
        hint = "Check the bucket and the key."
        raise InputError(f"{path} could not be {done}: there is no such object.", hint) from None
    except (PermissionError, NoCredentialsError) as error:
        hint = "Set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; check its rights."
        raise InputError(f"{path} could not be {done}: {error}.", hint) from error
    except _FAILURES as error:
        hint = "Check the network and AWS_ENDPOINT_URL, then run again."
        raise RunFailed(f"{path} could not be {done}: {error}.", hint) from error


def _fetch(path: str) -> bytes:
    return bytes(filesystem().cat_file(path))


def _created(path: str, data: bytes, last: bool) -> bool:
    """One attempt; False where nothing is stored and another attempt may help."""
    try:
        filesystem().pipe_file(path, data, mode="create")
        return True
    except _FINAL:
        raise
    except _FAILURES as error:
        stored = _stored(path, error)
        if stored is None and last:
            raise
    if stored is not None and stored != data:
        raise conflict(path)
    return stored is not None


def _stored(path: str, cause: Exception) -> bytes | None:
    try:
        return _fetch(path)
    except FileNotFoundError:
        return None
    except _FAILURES as error:
        raise CommitStateUnknown(
            f"{path} may or may not have been created: {cause}; looking failed too: {error}.",
            "Look whether the object is there before you run again.",
        ) from error
