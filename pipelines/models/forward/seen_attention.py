"""Attention where some tokens are not attended to: those that fill a query up in late interaction
(Khattab & Zaharia 2020, arXiv:2004.12832, section 3.2), as models are trained that do not let a
query see them. They stand behind an input's own tokens, and see what those see."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from shardrank.models.forward.attention_fp32 import EVERY, Sight
from shardrank.models.forward.batch import Batch


def attend_to_seen(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    batch: Batch,
    sight: Sight = EVERY,
    scale: float | None = None,
) -> Tensor:
    """softmax(scale · q·kᵀ)·v of each head, each token among those of its input that are seen.

    All inputs at one length: queries are short, and most models fill all up to the same.

    Args:
        queries: [t, heads, d] of all tokens.
        keys, values: [t, key heads, d], likewise.
        batch: where inputs begin and end, and how many tokens are seen of each.
        sight: what each query sees of these.
        scale: of the products; 1/√d without one.

    Returns:
        As queries.
    """
    q, k, v = (_spread(x, batch) for x in (queries, keys, values))
    found = scaled_dot_product_attention(q, k, v, _mask(batch, sight), scale=scale, enable_gqa=True)
    return found.transpose(1, 2).flatten(0, 1)[batch.cells]


def _mask(batch: Batch, sight: Sight) -> Tensor:
    """bool[b, 1, longest, longest]: which tokens (last) each attends to."""
    places = torch.arange(batch.longest, device=batch.ids.device)
    seen = (places < batch.seen_lengths[:, None])[:, None, None]
    apart = places - places[:, None]
    near = torch.ones_like(apart, dtype=torch.bool)
    if sight.before is not None:
        near &= apart >= -sight.before
    if sight.behind is not None:
        near &= apart <= sight.behind
    return seen & near


def _spread(x: Tensor, batch: Batch) -> Tensor:
    """[t, heads, d] → [b, heads, longest, d], zeros behind an input's tokens."""
    rows = x.new_zeros((len(batch.sizes) * batch.longest, *x.shape[1:]))
    rows[batch.cells] = x
    return rows.view(len(batch.sizes), batch.longest, *x.shape[1:]).transpose(1, 2)
