"""Functions compiled by numba on first use, for the loops that numpy has no words for.

The machine code is kept beside the module, or in the user's cache folder where that is read-only,
so that only the first worker on a machine waits for it.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar


@contextmanager
def _absent(module: str) -> Iterator[None]:
    """Meanwhile its import fails, unless it was imported before."""
    held = module in sys.modules
    sys.modules.setdefault(module, None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        if not held:
            del sys.modules[module]


# numba would look for a BLAS there, which takes it a fifth of a second and no loop needs.
with _absent("scipy.linalg"):
    import numba.np.arraymath  # noqa: F401
    from numba import njit
    from numba.core.dispatcher import Dispatcher
    from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])


#: Without the interpreter's lock; x / 0 is infinite as in numpy, whose check would forbid vectors.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def compiled(function: Function) -> Function:
    """The function as machine code; it holds no GIL. Bounds are not checked: the caller does."""
    return _compile(function, _OPTIONS)


def compiled_bare(function: Function) -> Function:
    """As `compiled`, for what makes no array: references to arrays are not counted, which takes as
    long as tens of additions for each one that is handed from function to function."""
    return _compile(function, {**_OPTIONS, "_nrt": False})


def inlined(function: Function) -> Function:
    """As `compiled_bare`, a part of the compiled functions that call it: arrays are handed over as
    seven numbers each, so a call with ten of them takes as long as a hundred additions."""
    return _compile(function, {**_OPTIONS, "_nrt": False, "forceinline": True})


def compiled_sum(function: Function) -> Function:
    """As `compiled`, and sums of floats are taken in the order that is fastest, always the same."""
    return _compile(function, {**_OPTIONS, "fastmath": {"reassoc", "nsz"}})


def compiled_fused(function: Function) -> Function:
    """As `compiled`, and a product is added to a sum without a rounding between, where the CPU has
    an instruction for that."""
    return _compile(function, {**_OPTIONS, "fastmath": {"contract"}})


def written(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that writes LLVM's instructions itself, for compiled ones to call: where sums must
    be vectors in registers, which numba makes of no loop."""
    made: Callable[..., Any] = intrinsic(function)
    return made


def _compile(function: Function, options: dict[str, Any]) -> Function:
    try:
        made: Any = njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep it in: every process compiles for itself
        return njit(**options)(function)  # type: ignore[no-any-return]
    if isinstance(made, Dispatcher):  # else NUMBA_DISABLE_JIT left it the function that it was
        _stamp(made)
    return made  # type: ignore[no-any-return]


def _stamp(made: Any) -> None:
    """What is kept of it on disk is that of these sources."""
    file = made._cache._cache_file
    file._source_stamp = (file._source_stamp, _sources())


@cache
def _sources() -> str:
    """What changes when any file of this folder does: machine code holds the functions that it
    calls, and numba 0.68 looks only at the file of the caller."""
    found = blake2b(digest_size=16)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()
