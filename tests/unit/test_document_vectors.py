"""Vectors of documents, against plain means."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.arrow_columns import matrix, vector_column
from shardrank.core.cards import Bm25Card, DocumentCard, EncoderCard
from shardrank.core.document_settings import DocumentSettings
from shardrank.core.errors import SettingsError
from shardrank.core.of_documents import of_documents
from shardrank.models.encoders.document_cards import read_document_card
from shardrank.models.encoders.documents import DocumentMeans

DENSE = EncoderCard("m", "f", "w", "t", 8, 64, 64, "mean", True, "", "", "fp32")


@given(
    st.integers(0, 2**31),
    st.sampled_from(["equal", "tokens"]),
    st.booleans(),
    st.sampled_from([np.float16, np.float32]),
)
def test_the_mean_stands_beside_each_passage(
    seed: int, weights: str, unit: bool, kind: type
) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, 6)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    vectors = rng.normal(size=(bounds[-1], 8)).astype(kind)
    vectors[: bounds[1]] = 0
    tokens = rng.integers(1, 100, bounds[-1])
    passage = pa.array(np.concatenate([np.arange(size) for size in sizes]))
    read = of_documents(vector_column(vectors), passage, pa.array(tokens))
    encoder = DocumentMeans(DocumentCard("d", "f", 8, weights, unit))
    column = encoder.column(read)
    assert column.type == vector_column(vectors).type
    found = matrix(pa.chunked_array([column]))
    for begin, end in pairwise(bounds.tolist()):
        counted = tokens[begin:end] if weights == "tokens" else None
        mean = np.average(vectors[begin:end].astype(np.float64), axis=0, weights=counted)
        if unit and begin:
            mean /= np.linalg.norm(mean)
        assert np.allclose(found[begin:end], mean, atol=2e-3)
        alone = encoder.column(read[begin:end])
        assert alone.equals(column[begin:end]), "whatever it lies beside"
    assert encoder.queries(column) is column


def test_what_decides_them() -> None:
    card = read_document_card(DocumentSettings(), DENSE)
    assert (card.dim, card.unit, card.weights) == (8, True, "equal")
    other = read_document_card(DocumentSettings(weights="tokens"), DENSE)
    assert other.fingerprint != card.fingerprint
    assert read_document_card(DocumentSettings(name="d"), DENSE).fingerprint == card.fingerprint
    with pytest.raises(SettingsError, match="holds none of a model"):
        read_document_card(DocumentSettings(of="bm25"), Bm25Card("bm25", "f", "none", "keep"))
    with pytest.raises(SettingsError, match="holds none of a model"):
        read_document_card(DocumentSettings(), None)
