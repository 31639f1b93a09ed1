"""A program's own way with SIGTERM, once Ray has been started and ended for it."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.ray

PROGRAM = """
import os, signal
from shardrank.core.settings import ClusterSettings
from shardrank.stages.run.cluster import connect

signal.signal(signal.SIGTERM, lambda *_: print("handled"))
with connect(ClusterSettings(cpus=1, address="local", object_store_mb=100), lambda sentence: None):
    pass
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_handler_is_there_again_after_ray() -> None:
    """Ray's end takes it away, below Python: hooks are told after it, and a program goes on."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
