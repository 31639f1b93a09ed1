"""An S3 bucket (or what speaks its protocol: Ceph, MinIO, R2) as storage, over s3fs.

A PUT is atomic and so is the end of a multipart upload, so there are no temporary objects and no
renames: an upload that was cut off is not listed and not read (a lifecycle rule of the bucket,
AbortIncompleteMultipartUpload, frees its space). Create is a PUT with If-None-Match: *
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
"""

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shardrank.core.errors import CommitStateUnknown, IntegrityError
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import sha256_hex
from shardrank.core.protocols import Entry
from shardrank.core.settings import S3Settings
from shardrank.core.tally import spend
from shardrank.storage.client import FAILURES, FINAL, explained, filesystem, s3_files
from shardrank.storage.keys import checked_data, checked_key, checked_prefix, conflict, missing
from shardrank.storage.lease import Lease

if TYPE_CHECKING:
    from s3fs import S3FileSystem

#: Of a create, a large upload and a checked read, above the retries of each request.
ATTEMPTS = 5


@dataclass(frozen=True)
class S3Storage:
    """The objects below `root` = s3://bucket/prefix; implements `shardrank.core.protocols.Storage`.

    All methods raise InputError where bucket, key or permission is missing, and RunFailed where
    the service still fails after the retries.
    """

    root: str
    settings: S3Settings

    def read(self, key: str) -> bytes:
        path = self._path(key)
        with explained(path, "read"):
            return self._fetch(path)

    def read_checked(self, ref: FileRef) -> bytes:
        """Other bytes than `ref` vouches for are asked for again: the damage may be the way's."""
        path = self._path(ref.key)
        for _ in range(ATTEMPTS - 1):
            try:
                return self._checked(path, ref)
            except IntegrityError:
                spend("retries:s3", 1)
        return self._checked(path, ref)

    def write(self, key: str, data: bytes, rows: int = 0) -> FileRef:
        path = self._path(key)
        with explained(path, "written"):
            self._upload(path, data)
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
            for attempt in range(ATTEMPTS):
                time.sleep(0.0 if attempt == 0 else 0.1 * 2**attempt)
                if self._created(path, data, last=attempt == ATTEMPTS - 1):
                    return
                spend("retries:s3", 1)

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with explained(path, "looked up"):
            try:
                return bool(self._files.info(path)["type"] == "file")
            except FileNotFoundError:
                return False

    def list(self, prefix: str) -> list[Entry]:
        folder = "/".join(filter(None, [self.root.rstrip("/"), checked_prefix(prefix)]))
        with explained(folder, "listed"):
            found = s3_files(self.settings, folder)
        skip = len(self.root.rstrip("/")) + 1
        return [replace(entry, key=entry.key[skip:]) for entry in found]

    def delete(self, key: str) -> None:
        path = self._path(key)
        with explained(path, "deleted"):
            self._files.rm_file(path)

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Hold a lease; see `shardrank.storage.lease`."""
        return Lease(self, checked_key(key)).held()

    @property
    def _files(self) -> "S3FileSystem":
        return filesystem(self.settings)

    def _path(self, key: str) -> str:
        return f"{self.root.rstrip('/')}/{checked_key(key)}"

    def _fetch(self, path: str) -> bytes:
        return bytes(self._files.cat_file(path))

    def _checked(self, path: str, ref: FileRef) -> bytes:
        with explained(path, "read"):
            try:
                data = self._fetch(path)
            except FileNotFoundError:
                raise missing(path) from None
        return checked_data(data, ref, path)

    def _upload(self, path: str, data: bytes) -> None:
        """In parts where it is large (s3fs: from two parts on).

        Where the answer to the last request of a multipart upload is lost, its repetition finds
        no such upload; whether the object is whole is then not known, so it is sent again.
        """
        part = self.settings.part_mb << 20
        for _ in range(ATTEMPTS - 1):
            try:
                return self._put(path, data, "overwrite")
            except FileNotFoundError:
                if len(data) < 2 * part:
                    raise
                spend("retries:s3", 1)
        self._put(path, data, "overwrite")

    def _put(self, path: str, data: bytes, mode: str) -> None:
        part = self.settings.part_mb << 20
        # What is not sent in parts must be bytes; it may be a map of a file.
        body = data if len(data) >= 2 * part else bytes(data)
        self._files.pipe_file(path, body, chunksize=part, mode=mode)

    def _created(self, path: str, data: bytes, last: bool) -> bool:
        """One attempt; False where nothing is stored and another attempt may help."""
        try:
            self._put(path, data, "create")
            return True
        except FINAL:
            raise
        except FAILURES as error:
            stored = self._stored(path, error)
            if stored is None and last:
                raise
        if stored is not None and stored != data:
            raise conflict(path)
        return stored is not None

    def _stored(self, path: str, cause: Exception) -> bytes | None:
        try:
            return self._fetch(path)
        except FileNotFoundError:
            return None
        except FAILURES as error:
            raise CommitStateUnknown(
                f"{path} may or may not have been created: {cause}; looking failed too: {error}.",
                "Look whether the object is there before you run again.",
            ) from error
