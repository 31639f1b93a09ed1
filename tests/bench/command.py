"""The command line in a process of its own, as a user starts it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = "from shardrank.jobs.cli import main; main()"
#: Of a process that keeps the bytecode of our modules, as one that is installed has it.
KEEPS_BYTECODE = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def shardrank(*words: str | Path) -> float:
    """Seconds that the command takes, from nothing to the prompt."""
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=KEEPS_BYTECODE)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began


def settings(**values: object) -> list[str]:
    """`--set` arguments; `a__b=1` is a.b=1."""
    return [f"--set={name.replace('__', '.')}={value}" for name, value in values.items()]


def stage_seconds(root: Path) -> dict[str, float]:
    """Of each stage of the only run below an INDEX or OUT."""
    records = [json.loads(path.read_bytes()) for path in root.glob("runs/*/stages/*.json")]
    return {record["stage"]: record["seconds"] for record in records}
