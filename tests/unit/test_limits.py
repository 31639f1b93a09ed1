"""What a container's limits leave of the machine, read from made-up control groups."""

import os
from pathlib import Path

import pytest

from shardrank.kernels.limits import usable_cpus, usable_memory

ALL = len(os.sched_getaffinity(0))
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    (tmp_path / "fs").mkdir()
    return tmp_path


def told(groups: Path, mine: str, **files: str) -> tuple[int, int]:
    (groups / "mine").write_text(mine)
    for name, text in files.items():
        path = groups / "fs" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    where = (groups / "mine", groups / "fs")
    return usable_cpus(*where), usable_memory(*where)


def test_a_machine_without_limits_is_all_there_is(groups: Path) -> None:
    assert told(groups, "0::/\n") == (ALL, MEMORY)
    assert told(groups, "") == (ALL, MEMORY)
    free = {"cpu_dot_max": "max 100000\n", "memory_dot_max": "max\n"}
    assert told(groups, "0::/\n", **free) == (ALL, MEMORY)


def test_a_quota_of_version_2_counts_rounded_up(groups: Path) -> None:
    limits = {"cpu_dot_max": "50000 100000\n", "memory_dot_max": "1048576\n"}
    assert told(groups, "0::/\n", **limits) == (1, 1 << 20)


def test_a_group_is_limited_by_those_above_it(groups: Path) -> None:
    limits = {"pod__cpu_dot_max": "100000 100000\n", "pod__me__memory_dot_max": "4096\n"}
    assert told(groups, "0::/pod/me\n", **limits) == (1, 4096)


def test_a_path_that_the_container_does_not_see_is_its_root(groups: Path) -> None:
    assert told(groups, "0::/kube/pod7\n", cpu_dot_max="10000 100000\n")[0] == 1


def test_quota_and_limit_of_version_1(groups: Path) -> None:
    limits = {
        "cpu,cpuacct__pod__cpu.cfs_quota_us": "100000\n",
        "cpu,cpuacct__pod__cpu.cfs_period_us": "100000\n",
        "memory__pod__memory.limit_in_bytes": "8192\n",
    }
    assert told(groups, "4:memory:/pod\n3:cpu,cpuacct:/pod\n", **limits) == (1, 8192)


def test_no_quota_and_no_limit_of_version_1(groups: Path) -> None:
    limits = {
        "cpu,cpuacct__cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct__cpu.cfs_period_us": "100000\n",
        "memory__memory.limit_in_bytes": "9223372036854771712\n",
    }
    assert told(groups, "4:memory:/\n3:cpu,cpuacct:/\n", **limits) == (ALL, MEMORY)
