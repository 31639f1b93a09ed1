"""Products of 8-bit matrices, by torch: several times the speed of float32 on today's CPUs."""

import numpy as np

from pipelines.core.protocols import Int8, Int32


def int8_product(left: Int8, right: Int8) -> Int32:
    """int32[q, n] inner products of the rows of int8[q, d] and int8[n, d], on this process's CPU.

    Exact where the CPU adds in 32 bits (AVX-512 VNNI, AVX-VNNI, AMX, Arm's dot products).
    """
    import torch  # a second to import, which who only passes by need not wait for

    if left.shape[1] == 1:  # torch 2.13 takes a column for a row there, and answers wrongly
        return left.astype(np.int32) * right.T.astype(np.int32)
    product: Int32 = torch._int_mm(torch.from_numpy(left), torch.from_numpy(right).T).numpy()
    return product
