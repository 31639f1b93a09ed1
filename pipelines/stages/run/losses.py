"""What Ray says when it gives a stage up, in words that a user can act on.

Ray wraps what happened: a task's error in a RayTaskError, that of an actor's start in an
ActorDiedError, and what a worker could not unpickle in a RaySystemError. Only the innermost error
says what is wrong, and only it says whether a rerun can mend it.
"""

import re
from collections.abc import Iterator
from pickle import PickleError

from ray.exceptions import (
    ActorDiedError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
    RaySystemError,
    RayTaskError,
    UnserializableException,
    UserCodeException,
)

from shardrank.core.errors import RunFailed

#: Characters of Ray's own words that are shown.
_SHOWN = 1000
_TERMINAL_CODE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
#: Lines that help nobody: names that Ray made up, and the marks under a line of code.
_NOISE = re.compile(r"(class_name|actor_id|namespace): .*|[\^~]+")
#: What Python writes between an error and the one that it caused.
_CAUSED = "\nThe above exception was the direct cause of"
#: How Ray words a RuntimeError where a function or a class cannot be unpickled.
_NOT_IMPORTED = "failed to import on the worker"

_CODE_HINT = (
    "Running it again will not mend this. Every node needs the same Python, Ray and shardrank; and "
    "workers import first from the folder in which the command is given and from PYTHONPATH, so no "
    "file there may bear a library's name. Finished units are kept."
)
_AGAIN = "Finished units are kept; run it again"
_HINTS = {
    OutOfMemoryError: f"{_AGAIN}, with fewer actors (cluster.actors): each holds a model.",
    ObjectStoreFullError: f"{_AGAIN}, with a larger store (cluster.object_store_mb).",
    OutOfDiskError: f"{_AGAIN} when there is room on the disk.",
}
_HINT = f"{_AGAIN}. If it ends so each time, --verbose shows what Ray says of its workers."


def lost(error: RayError) -> RunFailed:
    """The error of a run that Ray gave up: its innermost cause, and what can be done."""
    chain = list(_chain(error))
    said = _said(error, chain[-1])
    if _is_of_code(chain, said):
        return RunFailed(f"Ray's workers could not load what they were to run: {said}", _CODE_HINT)
    happened = "Ray lost workers for good" if len(chain) == 1 else "Ray's workers failed"
    return RunFailed(f"{happened}: {said}", _HINTS.get(type(chain[-1]), _HINT))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and one after another what each wraps."""
    while error is not None:
        yield error
        error = _wrapped(error)


def _wrapped(error: BaseException) -> BaseException | None:
    match error:
        case RayTaskError(cause=BaseException() as cause):
            return cause
        case ActorDiedError(args=(RayTaskError() as failed, *_)):
            return failed
        case RaySystemError(client_exc=BaseException() as raised):
            return raised
    return None


def _said(error: RayError, cause: BaseException) -> str:
    """Class and words of the innermost error, of which Ray may have kept a traceback alone."""
    as_text = isinstance(cause, UserCodeException | UnserializableException)
    if as_text or _NOT_IMPORTED in str(cause):
        return _readable(str(error).split(_CAUSED)[0].rstrip().rpartition("\n")[2])
    name = type(cause).__name__
    return _readable(f"{name}: {cause}" if str(cause) else name)


def _is_of_code(chain: list[BaseException], said: str) -> bool:
    """Whether a worker has other code than the driver, or lacks it."""
    cause = chain[-1]
    if isinstance(cause, OSError | MemoryError):
        return False
    unpickled = any(isinstance(error, RaySystemError) for error in chain[:-1])
    code = isinstance(cause, ImportError | PickleError) or _NOT_IMPORTED in str(cause)
    return unpickled or code or said.startswith(("ImportError:", "ModuleNotFoundError:"))


def _readable(text: str) -> str:
    """Without control codes and noise; all lines but the first are indented, and few are kept."""
    plain = _TERMINAL_CODE.sub("", text)
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in plain)
    lines = [line for line in map(str.strip, plain.split("\n")) if line]
    shown = "\n  ".join(line for line in lines if not _NOISE.fullmatch(line))
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 2] + " …"
