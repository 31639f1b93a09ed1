"""The first components of vectors, over which an index may be searched.

Of a model trained for it the first components of a vector are a vector themselves (Kusupati et
al., Matryoshka Representation Learning, NeurIPS 2022, arXiv 2205.13147), so candidates are looked
for among short vectors, and scored by whole ones.
"""

from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float32


@dataclass(frozen=True)
class Prefix:
    """What an index sees of a vector.

    Attributes:
        dim: components.
        unit: they are divided by their L2 norm, as the encoder does with all of them.
    """

    dim: int
    unit: bool

    def of(self, vectors: Float32) -> Float32:
        """float32[n, dim] of float32[n, d]; a row of zeros stays."""
        first = np.ascontiguousarray(vectors[:, : self.dim])
        if not self.unit:
            return first
        norms = np.linalg.norm(first, axis=1, keepdims=True).astype(np.float32)
        norms[norms == 0] = 1
        scaled: Float32 = first / norms
        return scaled
