"""A local source file's version: what it holds, by samples, and when the system saw it change."""

import hashlib
import os
from pathlib import Path

from shardrank.core.protocols import Entry

#: At most this much of a file is read: a smaller one whole, of a larger one even samples, of which
#: the first begins it and the last (in Parquet the footer) ends it.
WHOLE_BYTES = 1 << 20
_SAMPLES = 16


def source_entry(path: Path, key: str) -> Entry:
    """The file with a version that is another where its content is.

    The version holds size, modification and status-change time (in ns), and a hash of samples. Size
    and modification time alone can be those of another content (`rsync --times`, `cp -p`, unpacked
    archives). The status-change time is the system's own: no program can set it back. It also
    moves with what is no change of content (chmod, a hard link): then the file is read once more.
    Where a file system has none, the samples see what lies in them.

    Raises:
        OSError: the file cannot be looked up or read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        digest = _sampled(file.fileno(), status.st_size)
    times = f"{status.st_mtime_ns}-{status.st_ctime_ns}"
    return Entry(key, status.st_size, f"{times}-{status.st_size}-{digest}", status.st_mtime)


def _sampled(descriptor: int, size: int) -> str:
    """20 hex digits of the sha256 of the file, or of its samples."""
    count = 1 if size <= WHOLE_BYTES else _SAMPLES
    length = WHOLE_BYTES // count
    digest = hashlib.sha256()
    for number in range(count):
        start = (size - length) * number // (_SAMPLES - 1)  # 0 for the first
        digest.update(os.pread(descriptor, length, start))
    return digest.hexdigest()[:20]
