"""Where bytes live: local disk or S3. The only package that knows file systems."""

import os

from pipelines.core.protocols import Storage
from pipelines.storage.local import LocalStorage
from pipelines.storage.s3 import S3Storage
from pipelines.storage.sources import contains, is_s3, list_sources, open_source, source_version

__all__ = [
    "LocalStorage",
    "S3Storage",
    "contains",
    "list_sources",
    "open_source",
    "open_storage",
    "source_version",
]


def open_storage(uri: str) -> Storage:
    """The storage below a folder or s3://bucket/prefix; nothing is created or looked up yet.

    A local path is made absolute, so that it means the same in every worker. Raises InputError
    for another scheme.
    """
    return S3Storage(uri.rstrip("/")) if is_s3(uri) else LocalStorage(os.path.abspath(uri))
