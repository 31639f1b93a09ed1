"""Inputs of one text each for models that make sparse vectors, and their rows put back in order."""

from collections.abc import Sequence

import numpy as np

from shardrank.core.arrays import Int32, Int64
from shardrank.core.sparse import SparseRows, joined
from shardrank.models.encoders.embedder import Side
from shardrank.models.forward.batches import ModelInputs
from shardrank.models.forward.network import Typed, told_types
from shardrank.models.text.tokens import FastTokeniser


def single_inputs(
    model: Typed, tokeniser: FastTokeniser, ids: Sequence[Int32], side: Side
) -> ModelInputs:
    """Token lists without special tokens, cut where they are too long, as the model reads them."""
    template = tokeniser.single_template()
    cut = [row[: side.max_tokens - tokeniser.specials] for row in ids]
    lengths = np.array([len(row) for row in cut], np.int32) + tokeniser.specials
    typed = told_types(model, tokeniser.typed, template.all_types)
    return ModelInputs(
        lengths.astype(np.int32),
        lambda i: template.ids(cut[i]),
        (lambda i: template.types(len(cut[i]))) if typed else None,
    )


def in_order(found: list[SparseRows], rows: Sequence[Int64]) -> SparseRows:
    """The rows of batches, of which each says which inputs they are of, as the inputs were."""
    return joined(found).taken(np.argsort(np.concatenate([np.zeros(0, np.int64), *rows])))
