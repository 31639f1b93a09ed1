"""How fast this machine multiplies, measured in a moment: what a forecast of it scales with."""

import time

import numpy as np

#: Components of a side of the matrices, and how often they are multiplied.
_SIDE, _TIMES = 512, 8


def flops_per_core_s() -> float:
    """Floating-point operations of float32 that a core does in a second of its own, by numpy's
    product of matrices on all cores at once; the best of a few rounds, since others may work here,
    too."""
    left = np.random.default_rng(0).standard_normal((_SIDE, _SIDE), np.float32)
    return max(_round(left) for _ in range(5))


def _round(left: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> float:
    began = time.process_time()
    for _ in range(_TIMES):
        left @ left
    return _TIMES * 2 * _SIDE**3 / max(1e-6, time.process_time() - began)
