"""What the CPU of this machine can do. Imports no torch."""

from functools import cache


@cache
def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products of bf16 (AVX512_BF16): twice float32's rate
    and more. Others work bf16 out in float32, which is slower than float32 itself."""
    from llvmlite.binding import get_host_cpu_features  # a bare machine with a GPU may lack it

    try:
        return bool(get_host_cpu_features().get("avx512bf16", False))
    except RuntimeError:  # "host CPU features not supported": LLVM knows them for few families
        return False
