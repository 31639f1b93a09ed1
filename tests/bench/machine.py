"""What a benchmark ran on: the CPU by name, and the rates of its matrix products on one core.

Kinds of one maker's CPU differ by a factor of two in products of bf16 and 8 bits, and so do ratios.
"""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shardrank.kernels.machine import multiplies_bf16

_ROWS, _DEPTH, _COLUMNS, _TRIES = 1024, 384, 1536, 20
_CPUINFO = Path("/proc/cpuinfo")
_NAMED = ("model name", "cpu family", "model")


def machine() -> dict[str, Any]:
    """Its CPU, cores, and peaks in 10^9 operations a second on one thread, as JSON."""
    return {"cpu": cpu(), "cores": os.cpu_count(), "peaks": peaks()}


def float_dtypes() -> list[str]:
    """What this CPU multiplies floats in, the fastest last."""
    return ["fp32", "bf16"] if multiplies_bf16() else ["fp32"]


def cpu() -> str:
    """The name, with family and model, which tell apart what is sold under one name."""
    if not _CPUINFO.exists():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in _CPUINFO.read_text("utf-8").splitlines())
    found = {name.strip(): value.strip() for name, _, value in lines}  # the last core's
    name, *numbers = (f"{kind.removeprefix('cpu ')} {found.get(kind, '?')}" for kind in _NAMED)
    return f"{name.removeprefix('model name ')} ({', '.join(numbers)})"


def peaks() -> dict[str, int]:
    """By the type of the matrices: such as a layer of all-MiniLM-L6-v2 multiplies."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _peaks()
    finally:
        torch.set_num_threads(threads)


def _peaks() -> dict[str, int]:
    random = np.random.default_rng(0)
    left, right = (
        torch.from_numpy(random.standard_normal((rows, _DEPTH), dtype=np.float32))
        for rows in (_ROWS, _COLUMNS)
    )
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    rates = {name: _rate(torch.mm, left.to(kind), right.to(kind)) for name, kind in kinds.items()}
    small, other = ((20 * x).to(torch.int8) for x in (left, right))
    return rates | {"int8": _rate(torch._int_mm, small, other)}


def _rate(
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    left: torch.Tensor,
    right: torch.Tensor,
) -> int:
    """The best of some tries."""
    seconds = []
    for _ in range(_TRIES):
        begin = time.perf_counter()
        product(left, right.T)
        seconds.append(time.perf_counter() - begin)
    return round(2 * left.numel() * len(right) / min(seconds) / 1e9)
