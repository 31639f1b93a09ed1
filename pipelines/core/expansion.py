"""Queries with what a language model wrote about them: nearer to passages that would answer them.

HyDE (Gao et al., ACL 2023, arXiv:2212.10496) averages the vectors of a query and of passages that
might answer it; query2doc (Wang et al., EMNLP 2023, arXiv:2303.07678) adds their words to its own.
"""

from collections.abc import Sequence

import numpy as np

from shardrank.core.arrays import Float32, Int64


def mean_vectors(queries: Float32, of: Int64, passages: Float32, normalised: bool) -> Float32:
    """float32[n, d]: (q + Σ p) / (1 + m) of each query and its m passages, in float64.

    Args:
        queries: float32[n, d].
        of: int64[m], the query of each passage.
        passages: float32[m, d].
        normalised: whether a mean is divided by its L2 norm, as vectors of this kind are. One of
            length 0 stays as it is.
    """
    sums = queries.astype(np.float64)
    np.add.at(sums, of, passages.astype(np.float64))
    means = sums / (1 + np.bincount(of, minlength=len(queries)))[:, None]
    if normalised:
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        means /= np.where(lengths > 0, lengths, 1)
    return means.astype(np.float32)


def with_words(query: str, passages: Sequence[str], repeat: int) -> str:
    """The query, so often, and the passages behind it; the query alone where there are none."""
    return " ".join([*[query] * repeat, *passages]) if passages else query
