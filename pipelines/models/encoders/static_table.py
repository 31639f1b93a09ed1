"""A static encoder: a table of token vectors; a text's is their mean (sentence-transformers 6.2,
StaticEmbedding; https://github.com/MinishLab/model2vec). The empty text has the zero vector.

No network runs: the means are one loop over float32 rows, which waits for memory.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from shardrank.core.arrays import Float32, Int32
from shardrank.core.errors import InputError
from shardrank.kernels.table_loops import add_means
from shardrank.models.folder.modules import StaticTable
from shardrank.models.folder.table import TableShape, read_table_shape


class TokenTable:
    """A table in memory, float32[tokens, width]."""

    def __init__(self, rows: Float32) -> None:
        self._rows = rows

    @property
    def width(self) -> int:
        """Components of a vector."""
        return int(self._rows.shape[1])

    def means(self, texts: Sequence[Int32]) -> Float32:
        """float32[n, width]: of each text's tokens.

        Raises:
            InputError: a token has no row.
        """
        out = np.zeros((len(texts), self.width), np.float32)
        flat = np.concatenate([np.zeros(0, np.int32), *texts])
        if len(flat) and not 0 <= int(flat.min()) <= int(flat.max()) < len(self._rows):
            raise InputError(
                f"Token {flat.max()} has no row: the table has {len(self._rows)}.",
                "Name a folder whose tokenizer.json and table belong together.",
            )
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        add_means(self._rows, flat, ends, out)
        return out


def load_table(source: StaticTable) -> TokenTable:
    """The table of a folder.

    Raises:
        InputError: the folder holds no table that is understood, or its rows do not belong to its
            tokens.
    """
    shape = read_table_shape(source.folder)
    with safe_open(shape.file, "pt") as weights:
        rows = _folded(weights.get_tensor, shape)
    return TokenTable(np.ascontiguousarray(rows.float().numpy()))


def _folded(get: Callable[[str], Tensor], shape: TableShape) -> Tensor:
    """One row a token (sentence-transformers 6.2, StaticEmbedding._fold_model2vec_weights)."""
    rows = get(shape.rows)
    if shape.mapping:
        mapping = get(shape.mapping).long()
        if not 0 <= int(mapping.min()) <= int(mapping.max()) < len(rows):
            raise InputError(
                f"{shape.file} maps tokens to rows up to {int(mapping.max())} of {len(rows)}.",
                "Name a complete model folder.",
            )
        rows = rows[mapping]
    if shape.factors:
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        rows = (rows * get(shape.factors)[:, None]).to(rows.dtype)
    return rows
