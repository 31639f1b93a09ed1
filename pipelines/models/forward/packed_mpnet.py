"""How MPNet attends (Song et al. 2020, arXiv:2004.09297): one number a head for each bucket of
distances is added to the logits, the same in all layers (Raffel et al. 2020, arXiv:1910.10683)."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from shardrank.models.folder.packable import sizes
from shardrank.models.folder.packed_families import MPNET_BUCKETS
from shardrank.models.forward.attention import Attend
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.biased_attention import BiasedAttention, line_windows
from shardrank.models.forward.state import State

Config = Mapping[str, Any]

#: The distance from which on all are one.
_FARTHEST = 128


def bucketed_attention(state: State, config: Config, dtype: str) -> Callable[[int], Attend]:
    """The attention of each layer, which is one for all."""
    own = sizes(config)
    table = state["encoder.relative_attention_bias.weight"].float()
    attention = BiasedAttention(BucketBias(table, (own.width // own.heads) ** -0.5))
    return lambda layer: attention


class BucketBias:
    """Numbers by buckets of distances (protocol: Bias).

    Args:
        table: float32[buckets, heads].
        scale: of products of queries and keys.
    """

    def __init__(self, table: Tensor, scale: float) -> None:
        self.scale = scale
        self._table = table
        self._square = table.new_empty((table.shape[1], 0, 0))

    def of_all(self, queries: Tensor, keys: Tensor) -> Tensor:
        return self._upto(keys.shape[1])[None]

    def of_first(self, queries: Tensor, keys: Tensor) -> Tensor:
        return self._upto(keys.shape[1])[None, :, :1]

    def lines(self, length: int) -> Tensor:
        places = torch.arange(1 - length, length, device=self._table.device)
        return self._table[bucket(places)].T.contiguous()

    def attend_in_bf16(self, queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        from shardrank.models.forward.biased_bf16 import attend_by_lines  # numba

        longest = batch.blocks[0].length
        return attend_by_lines(queries, keys, values, batch, self.lines(longest), self.scale)

    def _upto(self, length: int) -> Tensor:
        """float32[heads, length, length], a corner of the largest that was asked for."""
        square = self._square
        if square.shape[1] < length:
            self._square = square = line_windows(self.lines(length), length).contiguous()
        return square[:, :length, :length]


def bucket(distances: Tensor) -> Tensor:
    """int64, the bucket of each distance of a key from its query: keys after a query have the upper
    half; small distances have their own, larger ones share by their logarithm (transformers 5.23,
    MPNetEncoder.relative_position_bucket)."""
    half = MPNET_BUCKETS // 2
    exact, apart = half // 2, distances.abs()
    shares = torch.log(apart.float() / exact) / math.log(_FARTHEST / exact) * (half - exact)
    large = (exact + shares.clamp(min=0).long()).clamp(max=half - 1)
    return torch.where(apart < exact, apart, large) + (distances > 0).long() * half
