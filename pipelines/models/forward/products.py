"""Products of 8-bit matrices: the same whole numbers on every CPU, each in its fastest way.

docs/cpus.md says which kind of CPU takes which way, and how fast that is.
"""

from collections.abc import Sequence
from functools import cache
from time import perf_counter

import numpy as np

from shardrank.core.arrays import Int8, Int32
from shardrank.core.protocols import Int8Product
from shardrank.kernels.machine import has_vnni, is_x86

#: Products of two 8-bit numbers whose sum is exact in float32: 2^24 / 2^14.
_EXACT_IN_FLOAT32 = 1 << 10

#: Rows and components of the product that is timed where no CPU feature decides, and how often.
_TRIED, _TRIES = (256, 384), 3


def int8_product(left: Int8, right: Int8) -> Int32:
    """int32[q, n] inner products of the rows of int8[q, d] and int8[n, d], on this process's CPU.

    Exact, whichever way it takes: search and models give the same on every kind of CPU.
    """
    return chosen_product()(left, right)


@cache
def chosen_product() -> Int8Product:
    """The way that this CPU takes, found once.

    torch 2.13 hands its product to oneDNN with AVX-512 VNNI only (and AMX, which includes it), and
    is a scalar loop everywhere else. What oneDNN may use can be limited by ONEDNN_MAX_CPU_ISA,
    below which it adds in 16 bits, wrongly: so its largest sums are tried.
    """
    if has_vnni() and _adds_in_32_bits():
        return torch_product
    from shardrank.kernels.pair_products import pair_product  # compiles, if it was never used

    return pair_product if is_x86() else _fastest([pair_product, float_product])


def torch_product(left: Int8, right: Int8) -> Int32:
    """As `int8_product`, by torch."""
    import torch  # a second to import, which who only passes by need not wait for

    if left.shape[1] == 1:  # torch 2.13 takes a single column for a row, and answers wrongly
        return float_product(left, right)
    product: Int32 = torch._int_mm(torch.from_numpy(left), torch.from_numpy(right).T).numpy()
    return product


def float_product(left: Int8, right: Int8) -> Int32:
    """As `int8_product`, by floats that hold every sum."""
    exact = np.float32 if left.shape[1] <= _EXACT_IN_FLOAT32 else np.float64
    product: Int32 = (left.astype(exact) @ right.T.astype(exact)).astype(np.int32)
    return product


def _adds_in_32_bits() -> bool:
    """Whether torch's sums of two products are exact where they are largest."""
    ones = np.full((32, 64), 127, np.int8)
    return bool((torch_product(ones, ones) == 64 * 127 * 127).all())


def _fastest(products: Sequence[Int8Product]) -> Int8Product:
    ones = np.ones(_TRIED, np.int8)

    def seconds(product: Int8Product) -> float:
        product(ones, ones)  # compiles, or fetches
        begin = perf_counter()
        for _ in range(_TRIES):
            product(ones, ones)
        return perf_counter() - begin

    return min(products, key=seconds)
