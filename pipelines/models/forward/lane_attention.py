"""Attention of lanes: one token of each, to the stem of all and to those before it in its lane."""

import torch
from torch import Tensor

from shardrank.models.forward.branch_attention import Rule, softmax_of
from shardrank.models.forward.kept import Pair


def attend_lanes(queries: Tensor, stem: Pair, own: Pair, at: Tensor, rule: Rule) -> Tensor:
    """softmax(q·kᵀ · scale)·v of each head, with the stem's keys before each lane's own.

    The stem's are never copied: products with them and with a lane's own are made apart.

    Args:
        queries: [m, heads, d] of a token of each lane.
        stem: keys and values of the stem, [stem, key heads, d].
        own: those of the lanes, [m, key heads, l, d]; what stands behind a token is not seen.
        at: int64[m], each token's place among its lane's.
        rule: of the layer.

    Returns:
        [m, heads, d].
    """
    lanes, heads, width = queries.shape
    key_heads, begun = own[0].shape[1], len(stem[0])
    asked = queries.reshape(lanes, key_heads, heads // key_heads, width)
    before = torch.einsum("mksd,nkd->mksn", asked, stem[0])
    products = torch.cat([before, asked @ own[0].transpose(2, 3)], -1).float() * rule.scale
    seen = _seen(at, begun, own[0].shape[2], rule.window)[:, None, None]
    shares = softmax_of(products.view(lanes, heads, 1, -1), seen, rule).to(own[1].dtype)
    shares = shares.view(*asked.shape[:3], -1)
    found = shares[..., begun:] @ own[1]
    found += torch.einsum("mksn,nkd->mksd", shares[..., :begun], stem[1])
    return found.reshape(lanes, heads, -1)


def _seen(at: Tensor, begun: int, length: int, window: int | None) -> Tensor:
    """bool[m, begun + length]: which keys the token of each lane attends to."""
    behind = (at + begun)[:, None] - torch.arange(begun + length, device=at.device)
    return behind >= 0 if window is None else (behind >= 0) & (behind < window)
