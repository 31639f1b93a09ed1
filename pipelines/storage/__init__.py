"""Where bytes live: local disk or S3. The only package that knows file systems."""

import os

from shardrank.core.protocols import Storage
from shardrank.core.settings import S3Settings
from shardrank.storage.local import LocalStorage
from shardrank.storage.s3 import S3Storage
from shardrank.storage.sources import Sources, contains, is_s3

__all__ = ["LocalStorage", "S3Storage", "Sources", "contains", "open_storage"]


def open_storage(uri: str, s3: S3Settings) -> Storage:
    """The storage below a folder or s3://bucket/prefix; nothing is created or looked up yet.

    A local path is made absolute, so that it means the same in every worker. Raises InputError
    for another scheme.
    """
    return S3Storage(uri.rstrip("/"), s3) if is_s3(uri) else LocalStorage(os.path.abspath(uri))
