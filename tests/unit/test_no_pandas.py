"""What `leave_pandas_out` leaves as it was; in processes of their own, since pyarrow looks once."""

import subprocess
import sys

import pytest

LISTS = "pa.array([1, 2]).to_numpy(); pa.array(['a']); pa.table({'a': [[1.5]]}).to_pylist()\n"
START = (
    "import sys, pyarrow as pa\n"
    "from shardrank.core.no_pandas import leave_pandas_out, take_pandas_in\n"
)


def _said(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_lists_and_arrays_bring_no_pandas_and_to_pandas_does() -> None:
    pytest.importorskip("pandas")
    code = (
        f"leave_pandas_out(); {LISTS}"
        "assert 'pandas' not in sys.modules\n"
        "frame = pa.table({'a': [1, None]}).to_pandas()\n"
        "print(pa.array(frame['a'], from_pandas=True).null_count)"
    )
    assert _said(code) == "1"


def test_a_process_that_has_pandas_or_takes_it_in_knows_its_values() -> None:
    pytest.importorskip("pandas")
    look = f"{LISTS}import pandas; print(pa.lib._pandas_api.is_series(pandas.Series([1])))"
    assert _said(f"leave_pandas_out(); take_pandas_in(); {look}") == "True"
    assert _said(f"import pandas; leave_pandas_out(); {look}") == "True"
