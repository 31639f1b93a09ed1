"""Hubs: passages that are near to nearly every query, whose scores are lowered by how near they are
to a bank of queries, and to one of passages (Wang et al., Balance Act, EMNLP 2023: dual inverted
softmax; with queries alone it is the inverted softmax of Smith et al., ICLR 2017).

A passage's probability is the product of exp(β·s) / Σ exp(β·s(bank, passage)) over the banks. Its
logarithm, over the banks' number and β, is s less the mean of log Σ / β: the passage's hubness. So
scores stay in the measure of s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float32, Float64

#: Products of a passage with a bank that are held at once.
_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Correction:
    """How hubs are found.

    Attributes:
        beta: of the softmax: the higher, the more the nearest of a bank counts.
        gallery: passages in their bank; 0: there is none.
    """

    beta: float
    gallery: int


def hubness(passages: Float32, banks: Sequence[Float32], beta: float) -> Float32:
    """float32[n], the higher the nearer a passage is to the banks.

    Reckoned in float64, so that the order of a product's sums, which depends on how many passages
    are looked at together, is not seen in float32.

    Args:
        passages: float32[n, d].
        banks: float32[m, d] each, m at least 1.
        beta: of the softmax.
    """
    step = max(1, _AT_ONCE // max(len(bank) for bank in banks))
    wide = [bank.astype(np.float64).T for bank in banks]
    found = np.empty(len(passages), np.float32)
    for begin in range(0, len(passages), step):
        rows = passages[begin : begin + step].astype(np.float64)
        each = [_log_mean(beta * (rows @ bank)) for bank in wide]
        found[begin : begin + step] = np.mean(each, axis=0) / beta
    return found


def _log_mean(values: Float64) -> Float64:
    """Of each row the logarithm of the mean of exp: a bank's size does not count."""
    most = values.max(axis=1, keepdims=True)
    result: Float64 = most[:, 0] + np.log(np.exp(values - most).mean(axis=1))
    return result
