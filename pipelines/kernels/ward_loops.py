"""Ward's clustering of a text's token vectors, as machine code (Ward 1963; by chains of nearest
neighbours, Murtagh 1983), in scipy's order: `scipy.cluster.hierarchy.linkage(method="ward")`."""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Float32, Int64
from shardrank.kernels.compiled import compiled

Float64 = npt.NDArray[np.float64]


@compiled
def ward(cosines: Float32, clusters: int, labels: Int64) -> None:
    """Into labels int64[n] goes the cluster of each vector, from 0 in the order of their first
    ones.

    Distances are 1 - cosine, taken for Euclidean ones (Clavié et al. 2024, arXiv:2409.14683;
    PyLate). Just as many clusters come as are asked for, where scipy's `fcluster` gives fewer if
    heights are equal at the cut.

    Args:
        cosines: float32[n, n], symmetric.
        clusters: 1 to n.
        labels: overwritten.
    """
    n = len(cosines)
    apart = np.empty((n, n), np.float64)
    for i in range(n):
        for j in range(i):  # a product need not be symmetric to the bit, and chains need it
            apart[i, j] = min(max(np.float32(1) - cosines[i, j], np.float32(0)), np.float32(2))
            apart[j, i] = apart[i, j]
        apart[i, i] = np.inf
    pairs, heights = np.empty((n - 1, 2), np.int64), np.empty(n - 1, np.float64)
    _merge(apart, pairs, heights)
    order = np.argsort(heights, kind="mergesort")
    _label(pairs[order[: n - clusters]], labels)


@compiled
def _merge(apart: Float64, pairs: Int64, heights: Float64) -> None:
    """All merges of n clusters of one, in the order in which chains find them; of each the two
    clusters by a member, of which the second stays. `apart` is overwritten."""
    n = len(apart)
    sizes = np.ones(n, np.int64)
    chain, length = np.empty(n, np.int64), 0
    for merge in range(n - 1):
        if length == 0:
            first = 0
            while sizes[first] == 0:
                first += 1
            chain[0] = first
            length = 1
        while True:
            x = chain[length - 1]
            y, least = -1, np.inf
            if length > 1:
                y = chain[length - 2]
                least = apart[x, y]
            row = apart[x]
            for i in range(n):
                if row[i] < least:
                    y, least = i, row[i]
            if length > 1 and y == chain[length - 2]:
                break
            chain[length] = y
            length += 1
        length -= 2
        one, other = min(x, y), max(x, y)
        pairs[merge, 0], pairs[merge, 1], heights[merge] = one, other, least
        _join(apart, sizes, one, other, least)


@compiled
def _join(apart: Float64, sizes: Int64, one: int, other: int, height: float) -> None:
    """A cluster's distances once another is part of it (Lance & Williams 1967)."""
    mine, theirs = sizes[one], sizes[other]
    sizes[one], sizes[other] = 0, mine + theirs
    for i in range(len(apart)):
        size = sizes[i]
        if size > 0 and i != other:
            share = 1.0 / (mine + theirs + size)
            left, right = apart[i, one], apart[i, other]
            square = (size + mine) * share * left * left + (size + theirs) * share * right * right
            joined = np.sqrt(square - size * share * height * height)
            apart[i, other] = joined
            apart[other, i] = joined
        apart[i, one] = np.inf
        apart[one, i] = np.inf


@compiled
def _label(pairs: Int64, labels: Int64) -> None:
    """The clusters after these merges."""
    n = len(labels)
    parents = np.arange(n)
    for pair in range(len(pairs)):
        one, other = _root(parents, pairs[pair, 0]), _root(parents, pairs[pair, 1])
        parents[max(one, other)] = min(one, other)
    found = 0
    for i in range(n):
        root = _root(parents, i)
        if root == i:
            labels[i] = found
            found += 1
        else:
            labels[i] = labels[root]


@compiled
def _root(parents: Int64, member: int) -> int:
    while parents[member] != member:
        parents[member] = parents[parents[member]]
        member = parents[member]
    return member
