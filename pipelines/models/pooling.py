"""From a text's token vectors h_1 … h_n to one vector (Reimers & Gurevych 2019, arXiv:1908.10084).

All take `hidden` float[b, t, d], padded on the right, and `lengths` int64[b], the real tokens of
each row, at least one; all return float32[b, d]. Sums are in float32 whatever the model's type.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Pool = Callable[[Tensor, Tensor], Tensor]


def mean(hidden: Tensor, lengths: Tensor) -> Tensor:
    """(1/n) · Σ_i h_i over the n real tokens."""
    places = torch.arange(hidden.shape[1], device=hidden.device)  # int64[t]
    mask = (places < lengths[:, None]).to(hidden.dtype)  # [b, t]
    total = (hidden * mask[..., None]).sum(1, dtype=torch.float32)  # float32[b, d]
    return total / lengths[:, None].float()


def cls(hidden: Tensor, lengths: Tensor) -> Tensor:
    """h_1, the vector of the first token, [CLS] or <s>; the lengths do not matter."""
    return hidden[:, 0].float()


def last(hidden: Tensor, lengths: Tensor) -> Tensor:
    """h_n, the vector of the last real token: the only one that a causal model lets see all."""
    rows = torch.arange(hidden.shape[0], device=hidden.device)  # int64[b]
    return hidden[rows, lengths - 1].float()


POOLS: Mapping[str, Pool] = {"mean": mean, "cls": cls, "last": last}
