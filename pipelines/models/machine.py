"""What this machine has and can do. Imports no torch."""

import os
from functools import cache
from pathlib import Path

#: Where NVIDIA's driver lists its GPUs.
_DRIVER = Path("/proc/driver/nvidia/gpus")


def visible_gpus() -> int:
    """NVIDIA's GPUs that a process here may use: those that a local Ray would find."""
    found, named = len(list(_DRIVER.glob("*"))), os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return found
    return min(found, len([name for name in named.split(",") if name.strip() not in ("", "-1")]))


@cache
def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products of bf16 (AVX512_BF16): twice float32's rate
    and more. Others work bf16 out in float32, which is slower than float32 itself."""
    from llvmlite.binding import get_host_cpu_features  # a bare machine with a GPU may lack it

    try:
        return bool(get_host_cpu_features().get("avx512bf16", False))
    except RuntimeError:  # "host CPU features not supported": LLVM knows them for few families
        return False
