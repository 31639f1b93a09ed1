"""Attention in float32: our kernel against torch's scaled_dot_product_attention, on one thread.

All inputs have one length, which is the best case for torch: it takes them at once.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from shardrank.models.forward.attention_fp32 import attend_in_loops
from shardrank.models.forward.batch import Batch
from tests.bench.harness import Benchmark, Contender, Duel

HEADS, TOKENS, TOLERANCE = 12, 8_192, 1e-5
OURS, PEER = "shardrank", "torch"


def benchmark(length: int, width: int) -> Benchmark:
    """About 8,192 tokens in inputs of one length, of 12 heads of a width."""
    count = TOKENS // length
    random = torch.Generator().manual_seed(0)
    made = torch.randn(count * length, 3, HEADS, width, generator=random)
    sizes, ids = np.full(count, length), torch.zeros(len(made), dtype=torch.int64)
    queries, keys, values = made.unbind(1)
    batch = Batch(np.arange(count), sizes, ids, None)
    contenders = [
        Contender(PEER, partial(_torch, queries, keys, values, count), None),
        Contender(OURS, partial(attend_in_loops, queries, keys, values, batch), TOLERANCE),
    ]
    name = f"attention of {length} tokens in {HEADS} heads of {width}"
    duels = [Duel(OURS, PEER, floor=1, goal=1.5)]
    return Benchmark(name, "tokens", len(made), contenders, duels, _furthest)


def _torch(queries: Tensor, keys: Tensor, values: Tensor, count: int) -> Tensor:
    """[t, heads, d], as a model has them and wants them."""
    q, k, v = (x.reshape(count, -1, *x.shape[1:]).transpose(1, 2) for x in (queries, keys, values))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1).contiguous()


def _furthest(wanted: Tensor, found: Tensor) -> float:
    return float((wanted - found).abs().max())
