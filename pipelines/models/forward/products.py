"""Products of 8-bit matrices: the same whole numbers on every CPU, each in its fastest way.

docs/cpus.md says which kind of CPU takes which way, and how fast that is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import numpy as np

from shardrank.core.arrays import Int8, Int32
from shardrank.core.protocols import Int8Product
from shardrank.kernels.machine import has_amx, has_vnni, has_wide_vectors, is_x86

if TYPE_CHECKING:
    from shardrank.kernels.byte_tiles import LaidOut

#: Products of two 8-bit numbers whose sum is exact in float32: 2^24 / 2^14.
_EXACT_IN_FLOAT32 = 1 << 10

#: Rows and components of the product that is timed where no CPU feature decides, and how often.
_TRIED, _TRIES = (256, 384), 3


#: Rows that are multiplied at once with a matrix that is laid out: the products of 1,536 columns
#: then stay in a core's second cache, beside the matrix.
_AT_ONCE = 144


class Int8Matrix(Protocol):
    """A matrix int8[m, k] with whose rows many others are multiplied.

    Attributes:
        at_once: how many of those others at most, so that their products stay in a cache; none: it
            does not matter.
    """

    @property
    def at_once(self) -> int | None: ...

    def products(self, rows: Int8) -> Int32:
        """As `int8_product`: int32[n, m] of int8[n, k]."""

    def part(self, begin: int, end: int | None) -> "Int8Matrix":
        """Some of its rows only."""


def int8_matrix(matrix: Int8) -> Int8Matrix:
    """int8[m, k], for the way that is fastest on this CPU."""
    laid_out = has_vnni() and has_wide_vectors() and not has_amx() and _adds_in_32_bits()
    if laid_out and len(matrix) >= 64 and matrix.shape[1] % 4 == 0:
        from shardrank.kernels.byte_tiles import lay_bytes  # compiles, if it was never used

        return LaidOutMatrix(lay_bytes(matrix))
    return PlainMatrix(matrix)


@dataclass(frozen=True, eq=False)
class PlainMatrix:
    """As it is (protocol: Int8Matrix)."""

    matrix: Int8

    @property
    def at_once(self) -> int | None:
        return None

    def products(self, rows: Int8) -> Int32:
        return int8_product(rows, self.matrix)

    def part(self, begin: int, end: int | None) -> Int8Matrix:
        return int8_matrix(self.matrix[begin:end])


@dataclass(frozen=True, eq=False)
class LaidOutMatrix:
    """By loops of our own, for which it is laid out (protocol: Int8Matrix)."""

    laid_out: "LaidOut"

    @property
    def at_once(self) -> int | None:
        return _AT_ONCE

    def products(self, rows: Int8) -> Int32:
        from shardrank.kernels.byte_tiles import multiply_bytes

        return multiply_bytes(rows, self.laid_out)

    def part(self, begin: int, end: int | None) -> Int8Matrix:
        from shardrank.kernels.byte_tiles import plain_bytes

        return int8_matrix(plain_bytes(self.laid_out)[begin:end])


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
