"""A table of weights for terms, without a network: sentence-transformers 6.2, SparseStaticEmbedding
(Geng et al. 2024, arXiv:2411.04403). A text has each of its tokens once, whatever its order.
"""

from collections.abc import Sequence

import numpy as np
from safetensors import safe_open

from shardrank.core.arrays import Float32, Int32
from shardrank.core.errors import InputError
from shardrank.core.sparse import SparseRows
from shardrank.models.folder.sparse_folder import TERM_WEIGHTS
from shardrank.models.folder.sparse_modules import TermTower
from shardrank.models.folder.weights import find_weights


class TermTable:
    """Weights of terms in memory, float32[vocabulary]."""

    def __init__(self, weights: Float32) -> None:
        self._weights = weights

    def terms(self, texts: Sequence[Int32]) -> SparseRows:
        """The terms of each text that have a weight, of its tokens."""
        rows = [self._row(tokens) for tokens in texts]
        ends = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        terms = np.concatenate([np.zeros(0, np.int64), *rows])
        return SparseRows(ends, terms.astype(np.uint64), self._weights[terms])

    def _row(self, tokens: Int32) -> Int32:
        once = np.unique(tokens)
        return once[self._weights[once] > 0]


def load_terms(tower: TermTower) -> TermTable:
    """The table of a folder.

    Raises:
        InputError: a weight is below zero or not finite.
    """
    file = find_weights(tower.source.transformer).files[0]
    with safe_open(file, "pt") as tensors:
        weights: Float32 = tensors.get_tensor(TERM_WEIGHTS).float().numpy()
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise InputError(
            f"{file} has weights of terms that are below zero or not finite.", "Use another model."
        )
    return TermTable(weights)
