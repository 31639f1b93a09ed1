"""How much memory a command and all processes that it starts hold at most, together.

Linux only: /proc is looked at several times a second. What a process has of its own is added up;
what it shares with others after a fork, and shared memory such as Ray's object store, counts by its
share. Pages of files, such as libraries and mapped weights, count once: as in the process that has
most of them, since the others have the same.
"""

import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Peak:
    """The largest sum, in bytes, and how many processes there were then; and the command's
    seconds."""

    size: int
    processes: int
    seconds: float


@dataclass(frozen=True)
class Held:
    """Bytes of one process: its own or by its share, and those of mapped files."""

    own: int
    files: int


def peak_memory(command: Sequence[str], every: float = 0.05) -> Peak:
    """Of a command that succeeds, seen `every` so many seconds."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        most, processes = 0, 0
        while process.poll() is None:
            each = list(_held(process.pid))
            size = together(each)
            if size > most:
                most, processes = size, len(each)
            time.sleep(every)
        said = process.stderr.read().decode() if process.stderr else ""
    assert process.returncode == 0, said
    return Peak(most, processes, time.perf_counter() - begun)


def together(each: Sequence[Held]) -> int:
    """Bytes of several processes of one command."""
    return sum(one.own for one in each) + max((one.files for one in each), default=0)


def _held(root: int) -> Iterator[Held]:
    """Of a process and all below it; those that end meanwhile are left out."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    below = [root]
    while below:
        process = below.pop()
        below += children.get(process, [])
        if (found := _rollup(PROC / str(process))) is not None:
            yield found


def _parent(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text("utf-8").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _rollup(process: Path) -> Held | None:
    try:
        lines = (process / "smaps_rollup").read_text("ascii").splitlines()[1:]
    except OSError:
        return None
    fields = (line.partition(":") for line in lines)
    sizes = {name: int(rest.split()[0]) << 10 for name, _, rest in fields}
    shared = sizes["Pss_Shmem"]
    # A page of a file that was written to is the process's own, and among Anonymous.
    return Held(sizes["Pss_Anon"] + shared, max(0, sizes["Rss"] - sizes["Anonymous"] - shared))
