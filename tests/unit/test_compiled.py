"""Machine code that is kept on disk is that of the sources that there are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import shardrank.kernels

_CALLEE = """
from kernels.compiled import compiled

@compiled
def callee():
    return {}
"""
_CALLER = """
from kernels.callee import callee
from kernels.compiled import compiled

@compiled
def caller():
    return callee()
"""
_RUN = "from kernels.caller import caller; print(caller(), sum(caller.stats.cache_hits.values()))"


def test_code_goes_with_what_it_calls(tmp_path: Path) -> None:
    """numba alone would answer 1 for ever: the caller's own file has not changed."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "__init__.py").touch()
    shutil.copy(Path(shardrank.kernels.__file__).parent / "compiled.py", folder)
    (folder / "caller.py").write_text(_CALLER, "utf-8")

    def said(number: int) -> str:
        (folder / "callee.py").write_text(_CALLEE.format(number), "utf-8")
        os.utime(folder / "callee.py", (number, number))
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", _RUN], env=environment, capture_output=True, text=True,
            check=True, cwd=tmp_path,
        )  # fmt: skip
        return done.stdout.strip()

    assert said(1) == "1 0"
    assert said(1) == "1 1"
    assert said(2) == "2 0"
