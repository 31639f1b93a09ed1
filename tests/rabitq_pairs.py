"""Errors of RaBitQ's estimates over many pairs, and how large its theorem lets them be."""

import math
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float64
from shardrank.index.rabitq import Rabitq
from shardrank.version.sizing import CodecPlan


@dataclass(frozen=True, eq=False)
class Pairs:
    """Of each rotation, query and row.

    Attributes:
        errors: float64[R, Q, n], estimates less inner products.
        bounds: float64[R, Q, n], |q| · |x̂ - Px| / √(d - 1): what ε is multiplied with.
    """

    errors: Float64
    bounds: Float64


def pairs(bits: int, rows: int, queries: int, dim: int, rotations: int) -> Pairs:
    """Vectors in clusters; a query of each four lies near to a row, the others anywhere."""
    random = np.random.default_rng(bits)
    spectrum = np.arange(1, dim + 1) ** -0.5
    centres = random.normal(size=(20, dim)) * spectrum
    stored = centres[random.integers(0, 20, rows)] + random.normal(size=(rows, dim)) * spectrum
    stored = (stored / np.linalg.norm(stored, axis=1, keepdims=True)).astype(np.float32)
    asked = random.normal(size=(queries, dim)).astype(np.float32)
    asked[::4] = stored[: len(asked[::4])] + 0.02 * asked[::4]
    exact = asked.astype(np.float64) @ stored.T
    errors, bounds = np.empty((2, rotations, queries, rows))
    for turn in range(rotations):
        made = Rabitq.train(stored, CodecPlan("ivfrabitq", 4, dim, bits, False, rows, turn))
        turned = made.turned(stored)
        decoded = made.decode(made.encode(turned)).astype(np.float64)
        errors[turn] = made.turned(asked).astype(np.float64) @ decoded.T - exact
        lost = np.linalg.norm(decoded - turned, axis=1)
        bounds[turn] = np.linalg.norm(asked, axis=1)[:, None] * lost / math.sqrt(dim - 1)
    return Pairs(errors, bounds)


def exceeding(made: Pairs, epsilon: float) -> float:
    """The share of pairs whose error is more than ε bounds."""
    return float((np.abs(made.errors) > epsilon * made.bounds).mean())


def share_beyond(epsilon: float, dim: int) -> float:
    """The share of directions of d - 1 components of which one is beyond ε/√(d - 1) of their
    length: that of a normal variable, which is a little more from two standard deviations on."""
    return math.erfc(epsilon / math.sqrt(2)) * (1 + 1 / dim)
