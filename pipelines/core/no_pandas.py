"""pyarrow without pandas, in a process that has nothing of pandas."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from types import ModuleType

import pyarrow as pa


class _Absent(MetaPathFinder):
    """Finds that there is no pandas."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out", name=fullname)


def leave_pandas_out() -> None:
    """Let pyarrow take no value of this process for one of pandas'.

    As soon as it is given a list, or gives a numpy array, it imports pandas to compare classes
    (pyarrow 26, pandas-shim.pxi), which takes .27 s of the CPU and 47 MB. It tries once only, so
    once it must not find it. What needs pandas, such as `to_pandas`, imports it all the same.
    """
    if "pandas" in sys.modules:
        return
    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(absent)


def take_pandas_in() -> None:
    """Let pyarrow know pandas again, where it is installed."""
    with suppress(ImportError):
        pa.array([0]).to_pandas()
