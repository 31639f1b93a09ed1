"""Products of float32 matrices on CPUs: by torch's own choice, but by oneDNN on AMD's.

torch hands them to MKL, which takes AVX2 for the best that a CPU of AMD's has. Measured on one core
of a Zen 5 (2026-11-29, torch 2.13, 1,024 rows of 3,072): MKL does 105 · 10⁹ operations a second,
oneDNN 236, and 122 where it is held to AVX2.
"""

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x·Wᵀ, + b where there is one, [n, m], of x [n, k] and a weight [m, k] of one type."""
    if x.dtype == torch.float32 and x.device.type == "cpu" and _by_onednn():
        # It is what torch compiles a linear map to, and has no public name.
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return found
    return functional.linear(x, weight, bias)


@cache
def _by_onednn() -> bool:
    if find_spec("llvmlite") is None or not torch._C._has_mkldnn:
        return False
    from shardrank.kernels.machine import is_zen

    return is_zen() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
