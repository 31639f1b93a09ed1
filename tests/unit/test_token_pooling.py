"""Fewer vectors for a passage: as PyLate and sentence-transformers cluster them."""

import numpy as np
import pytest
import torch
from scipy.cluster import hierarchy
from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

from shardrank.core.arrays import Float32
from shardrank.models.encoders.token_pooling import pooled, pooled_sizes
from shardrank.models.folder.late_modules import TokenPooling

RNG = np.random.default_rng(4)


def drawn(count: int) -> Float32:
    """Unit vectors, some of which are near each other."""
    centres = RNG.standard_normal((max(1, count // 4), 32))
    found = centres[RNG.integers(len(centres), size=count)] + 0.6 * RNG.standard_normal((count, 32))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def pylate(vectors: Float32, factor: float, protected: int) -> Float32:
    """ColBERT.pool_embeddings_hierarchical of PyLate 1.6, in numpy."""
    front, rest = vectors[:protected], vectors[protected:]
    clusters = max(int(len(rest) // factor), 1)
    if clusters >= len(rest):
        return vectors
    condensed = (1 - rest @ rest.T)[np.triu_indices(len(rest), k=1)]
    linkage = hierarchy.linkage(condensed, method="ward")
    labels = hierarchy.fcluster(linkage, t=clusters, criterion="maxclust")
    means = [rest[labels == label].mean(axis=0) for label in np.unique(labels)]
    return np.concatenate([front, np.stack(means)])


def alike(found: Float32, expected: Float32) -> None:
    """The same vectors in any order."""
    assert found.shape == expected.shape
    if len(found):
        apart = np.abs(found[:, None] - expected[None]).max(axis=2)
        assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 1e-5


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40, 180])
@pytest.mark.parametrize("factor", [1.5, 2, 3, 10])
@pytest.mark.parametrize("protected", [0, 1, 3])
def test_as_the_libraries_pool(count: int, factor: float, protected: int) -> None:
    vectors, sizes = drawn(count), np.array([count])
    pooling = TokenPooling(factor, protected)
    found = pooled(vectors, sizes, pooling, normalise=False)
    assert len(found) == pooled_sizes(sizes, pooling)[0]
    alike(found, pylate(vectors, factor, protected))
    theirs = HierarchicalTokenPooling(factor, num_protected_tokens=protected)
    expected = theirs.pool([torch.from_numpy(vectors)])[0].numpy()
    alike(pooled(vectors, sizes, pooling, normalise=True), expected)


def test_texts_are_pooled_apart() -> None:
    pieces = [drawn(count) for count in (9, 0, 1, 30)]
    pooling, sizes = TokenPooling(2, 1), np.array([len(x) for x in pieces])
    together = pooled(np.concatenate(pieces), sizes, pooling, True)
    alone = [pooled(x, np.array([len(x)]), pooling, True) for x in pieces]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert pooled_sizes(sizes, pooling).tolist() == [len(x) for x in alone] == [5, 0, 1, 15]


def test_means_stand_where_their_first_token_stood() -> None:
    axes = np.eye(32, dtype=np.float32)[[0, 1, 2, 1, 0, 2]]
    found = pooled(axes, np.array([6]), TokenPooling(2, 0), normalise=False)
    np.testing.assert_allclose(found, np.eye(32)[[0, 1, 2]], atol=1e-6)


def test_a_factor_of_one_changes_nothing() -> None:
    vectors = drawn(12)
    assert pooled(vectors, np.array([12]), TokenPooling(), normalise=False) is vectors
    doubled = pooled(2 * vectors, np.array([12]), TokenPooling(), normalise=True)
    np.testing.assert_allclose(doubled, vectors, atol=1e-6)
