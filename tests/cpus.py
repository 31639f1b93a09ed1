"""CPUs of other kinds: what this one would do without some of its instructions."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shardrank.models.forward.products import chosen_product

#: Environment of a process that is to use AVX2 at most, in whatever computes: oneDNN, torch's own
#: kernels, MKL, OpenBLAS (numpy's and faiss's), faiss, and what numba compiles.
AVX2_ONLY = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "FAISS_SIMD_LEVEL": "AVX2",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",
}


@contextmanager
def without_vnni(x86: bool = True) -> Iterator[None]:
    """Meanwhile products are chosen as on a CPU that has no VNNI, or is none of x86."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shardrank.models.forward.products.has_vnni", lambda: False)
        patch.setattr("shardrank.models.forward.products.is_x86", lambda: x86)
        chosen_product.cache_clear()
        yield
    chosen_product.cache_clear()
