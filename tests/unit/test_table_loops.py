"""Means of token vectors, in columns that lie in registers and columns that do not."""

import numpy as np
import pytest

from shardrank.kernels.table_loops import add_means


@pytest.mark.parametrize("width", [1, 63, 64, 65, 100, 128, 300])
def test_means_are_sums_in_the_order_of_the_tokens(width: int) -> None:
    random = np.random.default_rng(width)
    table = random.standard_normal((50, width), dtype=np.float32)
    texts = [random.integers(0, 50, size).astype(np.int32) for size in (0, 1, 2, 17, 0, 200, 0)]
    wanted, found = np.zeros((2, len(texts), width), np.float32)
    for row, text in zip(wanted, texts, strict=True):
        for token in text:
            row += table[token]
        row /= np.float32(max(len(text), 1))
    add_means(table, np.concatenate(texts), np.cumsum([len(text) for text in texts]), found)
    assert np.array_equal(found, wanted)
