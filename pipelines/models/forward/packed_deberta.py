"""How DeBERTa attends (He et al. 2021, arXiv:2006.03654, section 3.1): beside queries and keys of
tokens there are those of distances, and the logits of a pair of tokens are the sum of up to three
products, over √(3d).

Queries and keys of distances depend on the layer alone, so they are computed once, and divided by
that root then.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from shardrank.models.folder.deberta_config import Disentangled
from shardrank.models.folder.packable import sizes
from shardrank.models.forward.attention import Attend
from shardrank.models.forward.attention_bf16 import attends_in_bf16
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.biased_attention import BiasedAttention, windows
from shardrank.models.forward.linear import DTYPES
from shardrank.models.forward.norm import Norm
from shardrank.models.forward.state import State

Config = Mapping[str, Any]


def disentangled_attention(state: State, config: Config, dtype: str) -> Callable[[int], Attend]:
    """The attention of each layer."""
    own, shape = Disentangled.of(config), sizes(config)
    rows = state["encoder.rel_embeddings.weight"].float()
    if own.normed:
        rows = Norm.of(state, "encoder.LayerNorm", shape.epsilon)(rows)
    scale = (shape.width // shape.heads * (1 + len(own.kinds))) ** -0.5

    def mapped(layer: int, kind: str) -> Tensor | None:
        if kind not in own.kinds:
            return None
        name = f"encoder.layer.{layer}.attention.self.{_map(kind, own.shared)}"
        weight, bias = (state[f"{name}.{part}"].float() for part in ("weight", "bias"))
        found = linear(rows, weight, bias).mul(scale).view(len(rows), shape.heads, -1)
        return found.transpose(0, 1).to(_kind(dtype)).contiguous()

    return lambda layer: BiasedAttention(
        DistanceBias(own, scale, mapped(layer, "c2p"), mapped(layer, "p2c"))
    )


def _map(kind: str, shared: bool) -> str:
    """The map of distances: to keys, which queries of tokens meet, or to queries."""
    name = "key" if kind == "c2p" else "query"
    return name if shared else f"pos_{name}_proj"


def _kind(dtype: str) -> torch.dtype:
    """The type in which tokens attend, with a forward pass in `dtype`; see `Linear.attended`."""
    if dtype == "int8":
        return torch.bfloat16 if attends_in_bf16() else torch.float32
    return DTYPES[dtype]


@dataclass(frozen=True, eq=False)
class DistanceBias:
    """Products with the keys and queries of distances (protocol: Bias).

    Attributes:
        own: how distances are counted.
        scale: of products of tokens.
        keys, queries: [heads, 2 · span, d] of distances, times the scale; none: no such products.
    """

    own: Disentangled
    scale: float
    keys: Tensor | None
    queries: Tensor | None

    def of_all(self, queries: Tensor, keys: Tensor) -> Tensor:
        length = keys.shape[1]
        found = torch.zeros((), dtype=keys.dtype, device=keys.device)
        if self.keys is not None:
            found = windows(_products(queries, self.upwards(self.keys, length)), length)
        if self.queries is not None:
            mine = windows(_products(keys, self.downwards(self.queries, length)), length)
            found = found + mine.transpose(2, 3)
        return found.transpose(0, 1)

    def of_first(self, queries: Tensor, keys: Tensor) -> Tensor:
        length = keys.shape[1]
        found = torch.zeros((), dtype=keys.dtype, device=keys.device)
        if self.keys is not None:
            theirs = self.upwards(self.keys, length)[:, length - 1 : 2 * length - 1].to(keys.dtype)
            found = found + torch.einsum("nahd,hld->nhal", queries, theirs)
        if self.queries is not None:
            theirs = self.downwards(self.queries, length)[:, :length].flip(1).to(keys.dtype)
            found = found + torch.einsum("nlhd,hld->nhl", keys, theirs)[:, :, None]
        return found

    def lines(self, length: int) -> None:
        """It depends on the tokens, too."""

    def attend_in_bf16(self, queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        from shardrank.models.forward.biased_bf16 import attend_by_distances  # numba

        return attend_by_distances(queries, keys, values, batch, self)

    def upwards(self, table: Tensor, length: int) -> Tensor:
        """[heads, 2 · length, d]: the rows of the table of all distances of keys from queries from
        -(length - 1) on, as windows of queries take them, and one more."""
        return table.index_select(1, _places(self.own, length, table.device))

    def downwards(self, table: Tensor, length: int) -> Tensor:
        """The same of distances of queries from keys, as windows of keys take them."""
        return table.index_select(1, _places(self.own, length, table.device, turned=True))


def _products(tokens: Tensor, table: Tensor) -> Tensor:
    """[n, length, heads, d] of tokens, and [heads, w, d] → [heads, n, length, w]."""
    rows = tokens.flatten(0, 1).transpose(0, 1)
    theirs = table.to(tokens.dtype).transpose(1, 2)
    return torch.bmm(rows, theirs).view(len(rows), *tokens.shape[:2], -1)


@lru_cache(maxsize=2048)
def _places(own: Disentangled, length: int, device: torch.device, turned: bool = False) -> Tensor:
    """int64[2 · length]: rows of a table of distances, of i - j from length - 1 to -length; turned:
    from -(length - 1) to length."""
    found = torch.arange(length - 1, -length - 1, -1, device=device)
    rows = bucket(-found if turned else found, own)
    return (rows + own.span).clamp(0, 2 * own.span - 1)


def bucket(distances: Tensor, own: Disentangled) -> Tensor:
    """int64, the bucket of each distance of a query from its key, in float32 as transformers 5.23
    has it (make_log_bucket_position): small distances have their own, larger ones share by their
    logarithm."""
    if own.buckets <= 0:
        return distances
    half = own.buckets // 2
    apart = distances.abs().clamp(min=half - 1)
    whole = torch.log(torch.tensor((own.longest - 1) / half))
    shares = torch.ceil(torch.log(apart / half) / whole * (half - 1)) + half
    return torch.where(distances.abs() <= half, distances, shares * distances.sign()).long()
