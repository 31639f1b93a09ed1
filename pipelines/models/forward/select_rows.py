"""The best rows of each query on a device of torch, such as a GPU (`core/selection.py`).

A hit is one number, its score over its position's complement, as in `kernels/search_loops.py`: so
hits order as numbers, by descending score, the lower position first, and any device keeps the same.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from shardrank.core.arrays import Int8, Int32, Int64
from shardrank.models.forward.batch import send

#: Products that are made and looked through at once: with their hits, 12 bytes each.
_CELLS = 1 << 25

#: cuBLAS multiplies 8-bit matrices of more than 16 rows, by eights of components and columns.
_EIGHT, _FEWEST = 8, 24

#: A hit's score counts these; its lower half is the position's complement.
_SCORE, _LOW = 1 << 32, (1 << 32) - 1

#: Lower than any hit.
_NONE = torch.iinfo(torch.int64).min


@dataclass(frozen=True)
class TorchSelector:
    """Selection on a device, by torch's name of it (protocol: RowSelector)."""

    device: str

    @property
    def cells(self) -> int:
        return _CELLS

    def begin(self, queries: Int8, depth: int) -> "TorchRows":
        return TorchRows(_by_eights(send(queries, torch.device(self.device))), depth)


class TorchRows:
    """The hits of Q queries int8[Q, d], on their device (protocol: BestRows)."""

    def __init__(self, queries: Tensor, depth: int) -> None:
        count, device = len(queries), queries.device
        self._queries, self._depth = queries, depth
        self._hits = torch.full((count, depth), _NONE, dtype=torch.int64, device=device)
        self._floors = torch.full((count,), _NONE, dtype=torch.int64, device=device)

    def add(self, asking: Int32, rows: Int8, positions: Int64) -> None:
        device = self._queries.device
        mine, low = send(asking, device).long(), send(_LOW - positions, device)
        products = _products(self._queries, mine, send(rows, device))
        self._keep(mine, products.long() * _SCORE + low)

    def sorted(self) -> Int64:
        best = self._hits.sort(dim=1, descending=True).values.cpu().numpy()
        found: Int64 = np.where(best == _NONE, -1, _LOW - (best & _LOW))
        return found

    def _keep(self, mine: Tensor, hits: Tensor) -> None:
        """Only queries of which a hit int64[q, n] beats the floor are put in order again."""
        better = (hits > self._floors[mine][:, None]).any(1).nonzero()[:, 0]  # waits for the device
        mine = mine[better]
        every = torch.cat([self._hits[mine], hits[better]], dim=1)
        best = every.topk(self._depth, dim=1, sorted=False).values
        self._hits[mine], self._floors[mine] = best, best.amin(1)


def _products(queries: Tensor, asking: Tensor, rows: Tensor) -> Tensor:
    """int32[q, n]: those of the queries int64[q] with int8[n, d], which cuBLAS wants filled up."""
    spare = max(_FEWEST - len(asking), -len(asking) % _EIGHT)
    left = queries[pad(asking, (0, spare))]
    right = pad(_by_eights(rows), (0, 0, 0, -len(rows) % _EIGHT))
    return torch._int_mm(left, right.T)[: len(asking), : len(rows)]


def _by_eights(matrix: Tensor) -> Tensor:
    """With columns of zeros up to a multiple of eight, which change no product."""
    return pad(matrix, (0, -matrix.shape[1] % _EIGHT))
