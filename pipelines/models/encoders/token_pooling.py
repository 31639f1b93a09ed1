"""Fewer vectors for a passage: the means of tokens that are alike (Clavié et al. 2024, Reducing the
footprint of multi-vector retrieval with minimal performance impact via token pooling,
arXiv:2409.14683)."""

import numpy as np
import torch
from torch.nn import functional

from shardrank.core.arrays import Float32, Int64
from shardrank.kernels.ward_loops import ward
from shardrank.models.folder.late_modules import TokenPooling


def pooled_sizes(sizes: Int64, pooling: TokenPooling) -> Int64:
    """int64[n]: how many vectors are left of so many of each text."""
    if pooling.factor == 1:
        return sizes
    behind = np.maximum(sizes - pooling.protected, 0)
    clusters = np.maximum((behind // pooling.factor).astype(np.int64), 1)
    return sizes - behind + np.minimum(behind, clusters)


def pooled(vectors: Float32, sizes: Int64, pooling: TokenPooling, normalise: bool) -> Float32:
    """The vectors that are left of texts' vectors float32[t, d], in the order of each one's first
    token.

    Args:
        vectors: text behind text.
        sizes: int64[n], vectors of each.
        pooling: how.
        normalise: whether what comes out is divided by its norm.
    """
    if pooling.factor > 1:
        kept = pooled_sizes(sizes, pooling)
        ends = np.cumsum(sizes)
        texts = zip(ends - sizes, ends, kept, strict=True)
        vectors = np.concatenate(
            [vectors[:0], *(_text(vectors[a:b], int(k), pooling) for a, b, k in texts)]
        )
    if not normalise:
        return vectors
    return functional.normalize(torch.from_numpy(vectors), dim=1).numpy()


def _text(vectors: Float32, kept: int, pooling: TokenPooling) -> Float32:
    """Of one text, of which so many are kept."""
    if kept == len(vectors):
        return vectors
    front, rest = vectors[: pooling.protected], vectors[pooling.protected :]
    held = torch.from_numpy(rest)
    labels = np.empty(len(rest), np.int64)
    ward((held @ held.T).numpy(), kept - len(front), labels)
    sums = np.zeros((kept - len(front), rest.shape[1]), np.float32)
    np.add.at(sums, labels, rest)
    counts = np.bincount(labels, minlength=len(sums)).astype(np.float32)
    return np.concatenate([front, sums / counts[:, None]])
