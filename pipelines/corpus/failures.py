"""What goes wrong while a source is read: its content (the user's to mend) or the way to it."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from pipelines.core.errors import InputError, RunFailed


@contextmanager
def readable(uri: str) -> Iterator[None]:
    """Raises InputError where the content is damaged, RunFailed where reading it failed.

    Arrow reports damage as OSError too, but without the error number that the system's have.
    """
    try:
        yield
    except (pa.ArrowException, zlib.error, EOFError) as error:
        raise _damaged(uri, error) from error
    except OSError as error:
        if error.errno is None:
            raise _damaged(uri, error) from error
        hint = "Check the disk or the network, then run again."
        raise RunFailed(f"{uri} could not be read: {error}.", hint) from error


def _damaged(uri: str, error: Exception) -> InputError:
    found = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"{uri} is damaged or cut short: {found}", "Restore it, or leave it out.")
