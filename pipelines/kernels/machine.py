"""What this machine has and can do. Imports no torch."""

import os
import platform
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
    """Whether this CPU multiplies bf16 faster than float32, about twice as fast: by AMX, or by
    AVX512_BF16 on AMD's, from Zen 4.

    Intel's AVX512_BF16 takes twice the time of its float32: see docs/cpus.md. Others work bf16 out
    in float32, which is slower than float32 itself.
    """
    found = _features()
    return found.get("amx-bf16", False) or (found.get("avx512bf16", False) and _is_zen())


@cache
def has_vnni() -> bool:
    """Whether this CPU adds four products of 8-bit numbers in 32 bits, in vectors of 512
    (AVX512_VNNI; AMX comes with it)."""
    return _features().get("avx512vnni", False)


@cache
def has_amx() -> bool:
    """Whether this CPU multiplies tiles of 8-bit numbers (AMX)."""
    return _features().get("amx-int8", False)


@cache
def has_wide_vectors() -> bool:
    """Whether what numba compiles may use vectors of 512 bits: AVX-512, unless numba is told that
    this is another CPU."""
    told = os.environ.get("NUMBA_CPU_NAME") is not None
    return not told and _features().get("avx512f", False)


@cache
def has_sha() -> bool:
    """Whether what numba compiles may use the CPU's instructions for SHA-256; where numba is told
    that this is another CPU, whether it is told of these."""
    told = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
    if told == (None, None):
        found = _features()
        return found.get("sha", False) and found.get("avx", False)
    return {"+sha", "+avx"} <= {*(told[1] or "").split(",")}


@cache
def widens_halves() -> bool:
    """Whether what numba compiles may use the CPU's instruction that makes float32 of fp16 (F16C on
    x86, since 2012), without which LLVM calls a function that is nowhere; where numba is told that
    this is another CPU, whether all of that kind have it."""
    told = os.environ.get("NUMBA_CPU_NAME")
    if told is not None:
        return told in ("haswell", "x86-64-v3", "x86-64-v4")
    return _features().get("f16c", False) if is_x86() else platform.machine() == "aarch64"


def is_x86() -> bool:
    """Whether this is a CPU of Intel's and AMD's kind, of 64 bits."""
    return platform.machine() in ("x86_64", "AMD64")


@cache
def is_amd() -> bool:
    """Whether this CPU is AMD's, as Linux tells it; elsewhere not."""
    told = Path("/proc/cpuinfo")
    return told.exists() and "AuthenticAMD" in told.read_text()


def _is_zen() -> bool:
    from llvmlite.binding import get_host_cpu_name  # see `_features`

    return str(get_host_cpu_name()).startswith("znver")


def _features() -> dict[str, bool]:
    """What LLVM says that this CPU has; nothing where it knows nothing of it."""
    from llvmlite.binding import get_host_cpu_features  # a bare machine with a GPU may lack it

    try:
        return dict(get_host_cpu_features())
    except RuntimeError:  # "host CPU features not supported": LLVM knows them for few families
        return {}
