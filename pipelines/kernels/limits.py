"""What of this machine a process may use: of its CPUs and memory, where a container, a batch system
or taskset gives it less (Linux's control groups, versions 1 and 2).

https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max, memory.max, cpuset),
https://docs.kernel.org/scheduler/sched-bwc.html (cpu.cfs_quota_us, cpu.cfs_period_us).
"""

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MINE = Path("/proc/self/cgroup")

#: Version 1 writes this, or about, where memory has no limit: more than any machine has.
_NO_LIMIT = 1 << 60


def usable_cpus(mine: Path = _MINE, cgroups: Path = _CGROUPS) -> int:
    """CPUs that this process may run on: those it is bound to, or as many as its quota pays for,
    rounded up; at least 1."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = [quota for folder in _folders("cpu", mine, cgroups) if (quota := _quota(folder))]
    return max(1, min([bound or 1, *(-int(-quota // 1) for quota in quotas)]))


def usable_memory(mine: Path = _MINE, cgroups: Path = _CGROUPS) -> int:
    """Bytes of memory that this process may use: the machine's, or its limit where that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _folders("memory", mine, cgroups):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(_words(folder / name))
            if limit is not None and limit < _NO_LIMIT:
                found.append(int(limit))
    return min(found)


def _folders(controller: str, mine: Path, cgroups: Path) -> Iterator[Path]:
    """The process's group of a controller and all above it, each of which may limit it.

    Inside a container the path that /proc names may not be there, since the group's own folder is
    mounted as the root; then the root alone says it.
    """
    for line in _lines(mine):
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = cgroups / names if names and (cgroups / names).is_dir() else cgroups
        if names and root == cgroups:
            root = cgroups / controller
        folder = root / path.strip().lstrip("/")
        while folder != root and root in folder.parents:
            yield folder
            folder = folder.parent
        yield root


def _quota(folder: Path) -> float | None:
    """CPUs that a group's quota pays for; None: it has none."""
    words = _words(folder / "cpu.max")
    if len(words) == 2:
        quota, period = _number(words[:1]), _number(words[1:])
    else:
        quota = _number(_words(folder / "cpu.cfs_quota_us"))
        period = _number(_words(folder / "cpu.cfs_period_us"))
    return quota / period if quota and period and quota > 0 else None


def _number(words: list[str]) -> float | None:
    return float(words[0]) if words and words[0].lstrip("-").isdigit() else None


def _words(path: Path) -> list[str]:
    return next((line.split() for line in _lines(path)), [])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
