"""Pairs of large inner products on a device of torch, such as a GPU (`core/selection.py`)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shardrank.core.arrays import Bool, Float32, Int64
from shardrank.core.selection import Bounds
from shardrank.models.forward.batch import send

#: Products that are made and looked through at once. Where all vectors are equal, all are pairs.
_CELLS = 1 << 25


class TorchPairs:
    """Selection on a device, by torch's name of it (protocol: PairSelector).

    Queries stay there from part to part.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._held: tuple[Float32, Tensor] | None = None

    def __call__(
        self, queries: Float32, vectors: Float32, live: Bool, bounds: Bounds
    ) -> Iterator[tuple[Int64, Int64]]:
        if not len(vectors):
            return
        asked, stored, seen = self._sent(queries), self._send(vectors), self._send(live)[:, None]
        lengths = self._send(np.diff(np.append(bounds.groups, len(vectors))))
        floor, margin = self._send(bounds.floor), self._send(bounds.margin)
        height = max(1, _CELLS // len(vectors))
        for begin in range(0, len(queries), height):
            block = slice(begin, begin + height)
            scores = _products(stored, asked[block]).masked_fill_(~seen, -torch.inf)  # [n, q]
            least = torch.maximum(_kth_maximum(scores, lengths, bounds.k), floor[block])
            found = ((scores >= least - margin[block]) & seen).T.nonzero().cpu().numpy()
            yield found[:, 0] + begin, found[:, 1]

    def _sent(self, queries: Float32) -> Tensor:
        if self._held is None or self._held[0] is not queries:
            self._held = None  # lets go of the last ones
            self._held = (queries, self._send(queries))
        return self._held[1]

    def _send(self, array: npt.NDArray[Any]) -> Tensor:
        return send(array, self._device)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """float32[n, q] of [n, d] and [q, d], whatever this process allows its models: products of TF32
    would err by more than the margin."""
    precision = torch.backends.cuda.matmul
    before, precision.fp32_precision = precision.fp32_precision, "ieee"
    try:
        return left @ right.T
    finally:
        precision.fp32_precision = before


def _kth_maximum(scores: Tensor, lengths: Tensor, k: int) -> Tensor:
    """float32[q]: the k-th largest of the groups' maxima; -inf where there are fewer groups."""
    if len(lengths) < k:
        return scores.new_full((scores.shape[1],), -torch.inf)
    maxima = torch.segment_reduce(scores, "max", lengths=lengths, axis=0, unsafe=True)
    return maxima.topk(k, dim=0).values[-1]
