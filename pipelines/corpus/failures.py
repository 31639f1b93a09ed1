"""What goes wrong while a source is read: its content (the user's to mend) or the way to it."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from shardrank.core.errors import InputError, RunFailed

#: What a decoder says of content that is sound but beyond it, and what to do about it.
_BEYOND = {
    "requires too much memory": (
        "its zstd window is longer than the 128 MiB that are read",
        "Compress it again without --long: zstd -d --long=31 FILE, then zstd the result.",
    ),
    "Unsupported compression codec": ("", "Write it again with zstd, gzip or snappy."),
    "LZO compression": ("", "Write it again with zstd, gzip or snappy."),
}


@contextmanager
def readable(uri: str) -> Iterator[None]:
    """Raises InputError where the content is damaged or of a kind that is not read, RunFailed
    where reading it failed.

    Arrow reports damage as OSError too, but without the error number that the system's have.
    """
    try:
        yield
    except pa.ArrowNotImplementedError as error:
        hint = "Write it again without what is named here."
        raise InputError(f"{uri} cannot be read: {_first_line(error)}.", hint) from error
    except (pa.ArrowException, zlib.error, EOFError) as error:
        raise _unreadable(uri, error) from error
    except OSError as error:
        if error.errno is None:
            raise _unreadable(uri, error) from error
        hint = "Check the disk or the network, then run again."
        raise RunFailed(f"{uri} could not be read: {error}.", hint) from error


def _unreadable(uri: str, error: Exception) -> InputError:
    found = _first_line(error)
    for sign, (said, hint) in _BEYOND.items():
        if sign in found:
            return InputError(f"{uri} cannot be read: {said or found}.", hint)
    return InputError(f"{uri} is damaged or cut short: {found}.", "Restore it, or leave it out.")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
