"""From a text's token vectors h_1 … h_n to one vector (Reimers & Gurevych 2019, arXiv:1908.10084).

All return float32[b, d]. Sums are in float32 whatever the model's type.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pipelines.models.batch import Batch
from pipelines.models.network import Network

Pool = Callable[[Network, Batch], Tensor]


def mean(network: Network, batch: Batch) -> Tensor:
    """(1/n) · Σ_i h_i over the n tokens."""
    hidden = network.hidden(batch).float()  # float32[t, d]
    # Unsafe leaves out two checks that would each wait for a GPU; a batch's lengths do add up.
    return torch.segment_reduce(hidden, "mean", lengths=batch.lengths, unsafe=True)


def cls(network: Network, batch: Batch) -> Tensor:
    """h_1, the vector of the first token, [CLS] or <s>."""
    return network.first(batch).float()


def last(network: Network, batch: Batch) -> Tensor:
    """h_n, the vector of the last token: the only one that a causal model lets see all."""
    return network.hidden(batch)[batch.ends[1:] - 1].float()


POOLS: Mapping[str, Pool] = {"mean": mean, "cls": cls, "last": last}
