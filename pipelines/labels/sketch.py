"""Near-duplicates: how much of their tokens two passages share, without comparing all pairs.

MinHash: the share of equal minima under random functions estimates the Jaccard similarity
|A ∩ B| / |A ∪ B| without bias (Broder, On the resemblance and containment of documents, 1997).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.labels.scored import mix

#: Functions: the estimate's standard deviation is √(J(1-J)/128), .027 at J = .9.
SIZE = 128
_SALTS = mix(np.arange(SIZE, dtype=np.uint64))

Sketches = npt.NDArray[np.uint32]


def sketch(passages: Sequence[Int32]) -> Sketches:
    """uint32[n, SIZE]: the minima of each passage's token ids under each function."""
    result = np.full((len(passages), SIZE), np.iinfo(np.uint32).max, dtype=np.uint32)
    for row, tokens in enumerate(passages):
        if len(tokens):
            hashed = mix(np.unique(tokens).astype(np.uint64)[:, None] ^ _SALTS)
            result[row] = (hashed >> np.uint64(32)).min(axis=0)
    return result


def similarity(sketches: Sketches, left: Int64, right: Int64) -> Float32:
    """float32[m]: the estimated Jaccard similarity of the pairs (left[i], right[i])."""
    found = np.empty(len(left), np.float32)
    for begin in range(0, len(left), 65_536):
        batch = slice(begin, begin + 65_536)
        found[batch] = (sketches[left[batch]] == sketches[right[batch]]).mean(axis=1)
    return found
