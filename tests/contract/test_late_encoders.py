"""What every model of token vectors must do, over the layouts that users bring.

The reference is sentence-transformers' MultiVectorEncoder on the same folder, which opens those of
PyLate and ColBERT too. A new layout is one more entry of tests/late_models.py."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder

from shardrank.core.arrays import Float32
from shardrank.core.errors import IntegrityError
from shardrank.core.late_settings import LateSettings
from shardrank.core.token_vectors import TokenVectors
from shardrank.kernels.residual_codes import ResidualCodec, token_vectors
from shardrank.models.complete import check_late
from shardrank.models.encoders.late import LateEncoder, TokenColumn, load_late
from shardrank.models.encoders.late_fit import fit_late
from shardrank.models.encoders.late_sample import sampled_texts
from tests.late_models import DIM, LATE_FAMILIES, late_model
from tests.tiny_models import WORDS

TEXTS = [" ".join(WORDS[i : i + n]) for i, n in enumerate([5, 1, 12, 3, 7, 30, 2, 9, 5, 4])]
LONG = " ".join(WORDS * 2)
ALL = [*TEXTS, "wing, flow. heat! (gas)", "...", "", "Wing WING [D] text", LONG]
#: Whose passages keep fewer vectors than tokens, in an order of our own.
POOLED = "st-pooled"


@pytest.fixture(scope="module", params=LATE_FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return late_model(tmp_path_factory.mktemp("late"), family)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> LateEncoder:
    return load(folder)


@pytest.fixture(scope="module")
def reference(folder: Path) -> MultiVectorEncoder:
    return MultiVectorEncoder(str(folder), device="cpu")


def settings(folder: Path, **more: object) -> LateSettings:
    table = {"model": str(folder), "batch_tokens": 64, "dtype": "fp32", **more}
    return LateSettings.model_validate(table)


def load(folder: Path, **more: object) -> LateEncoder:
    check_late(settings(folder, **more))
    return load_late(settings(folder, **more), "cpu")


def documents(encoder: LateEncoder, texts: list[str]) -> TokenVectors:
    """Without the rounding to fp16."""
    found = encoder.documents(texts, lambda vectors: vectors, np.float32, encoder.card.dim)
    assert not found.broken.any()
    return TokenVectors(found.ends, found.values)


def column(encoder: LateEncoder, texts: list[str], codec: bytes | None = None) -> pa.Array:
    held = ResidualCodec.of(codec) if codec else None
    return TokenColumn(encoder, held).column(pa.array(texts, pa.string()))


def close(found: TokenVectors, expected: list[Float32], ordered: bool = True) -> None:
    """Text by text; of texts without a vector both have none."""
    assert found.rows == len(expected)
    for row, theirs in enumerate(expected):
        mine = found.text(row)
        assert mine.shape == theirs.shape
        if ordered:
            np.testing.assert_allclose(mine, theirs, atol=1e-4)
        elif len(mine):
            apart = np.abs(mine[:, None] - theirs[None]).max(axis=2)
            assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 1e-4


def test_documents_equal_sentence_transformers(
    family: str, encoder: LateEncoder, reference: MultiVectorEncoder
) -> None:
    expected = reference.encode_document(ALL, convert_to_numpy=True)
    close(documents(encoder, ALL), expected, ordered=family != POOLED)
    assert len({vectors.tobytes() for vectors in expected}) > len(TEXTS)


def test_queries_equal_sentence_transformers(
    encoder: LateEncoder, reference: MultiVectorEncoder
) -> None:
    close(encoder.queries(ALL), reference.encode_query(ALL, convert_to_numpy=True))


def test_order_and_batches_do_not_matter(folder: Path, encoder: LateEncoder) -> None:
    forward = documents(encoder, ALL)
    expected = [forward.text(row) for row in range(forward.rows)]
    close(documents(encoder, ALL[::-1]), expected[::-1])
    close(documents(load(folder, batch_tokens=4096), ALL), expected)
    for text, vectors in zip(ALL, expected, strict=True):
        close(documents(encoder, [text]), [vectors])


def test_equal_input_gives_equal_bytes(folder: Path, encoder: LateEncoder) -> None:
    assert column(encoder, ALL).equals(column(load(folder), ALL))
    asked = pa.array(ALL)
    assert (
        TokenColumn(encoder, None)
        .queries(asked)
        .equals(TokenColumn(load(folder), None).queries(asked))
    )


def test_nothing_in_nothing_out(encoder: LateEncoder) -> None:
    assert column(encoder, []).equals(column(encoder, ALL)[:0])
    assert encoder.queries([]).vectors.shape == (0, encoder.card.dim)


def test_fp16_is_near(encoder: LateEncoder) -> None:
    found, whole = TokenVectors.of(column(encoder, ALL)), documents(encoder, ALL)
    np.testing.assert_array_equal(found.ends, whole.ends)
    np.testing.assert_allclose(found.vectors, whole.vectors, atol=1e-3)


@pytest.mark.parametrize("stored", ["4", "2", "1"])
def test_codes_are_near(folder: Path, stored: str) -> None:
    more = {"stored": stored, "centroids": 16}
    encoder = load(folder, **more)
    assert sampled_texts(settings(folder, **more), encoder.card) == 2048
    texts = [" ".join(WORDS[i:j]) for i in range(0, 40, 3) for j in range(i + 2, 44, 7)]
    codec = fit_late(settings(folder, **more), encoder.card, "cpu", pa.array(texts))
    assert codec == fit_late(settings(folder, **more), encoder.card, "cpu", pa.array(texts))
    coded = column(encoder, ALL, codec)
    assert coded.equals(column(encoder, ALL, codec))
    found, whole = token_vectors(coded, codec), documents(encoder, ALL)
    np.testing.assert_array_equal(found.ends, whole.ends)
    lengths = np.linalg.norm(found.vectors, axis=1) * np.linalg.norm(whole.vectors, axis=1)
    cosines = (found.vectors * whole.vectors).sum(axis=1) / np.maximum(lengths, 1e-9)
    assert np.median(cosines) > {"4": 0.99, "2": 0.95, "1": 0.85}[stored]


def test_another_model_is_refused(folder: Path, encoder: LateEncoder) -> None:
    with pytest.raises(IntegrityError, match="do not match"):
        load_late(settings(folder, document_tokens=21), "cpu", encoder.card)


def test_settings_win(tmp_path: Path) -> None:
    folder = late_model(tmp_path, "st-bert")
    reference = MultiVectorEncoder(str(folder), device="cpu")
    reference[0].document_length = 12
    reference[0].query_expansion = {"strategy": "fixed", "attend": False, "length": 20}
    encoder = load(folder, document_tokens=12, query_tokens=20, query_prompt="heat ")
    close(documents(encoder, ALL), reference.encode_document(ALL, convert_to_numpy=True))
    asked = reference.encode_query(ALL, prompt="heat ", convert_to_numpy=True)
    close(encoder.queries(ALL), asked)
    assert encoder.queries([LONG]).text(0).shape == (20, DIM)


def test_fewer_vectors_by_setting(tmp_path: Path) -> None:
    encoder, whole = (load(late_model(tmp_path / n, "pylate-bert"), **more) for n, more in MORE)
    found, all_of = documents(encoder, ALL), documents(whole, ALL)
    behind = np.maximum(np.diff(all_of.ends) - 1, 0)
    assert np.diff(found.ends).tolist() == [1 + max(1, n // 3) if n else 1 for n in behind]
    np.testing.assert_array_equal(found.text(0)[0], all_of.text(0)[0])
    # Means of PyLate's are no longer than what they are of.
    assert np.linalg.norm(found.vectors, axis=1).max() < 1 + 1e-5
    assert len(encoder.queries(TEXTS[:1]).text(0)) == 16


MORE: tuple[tuple[str, dict[str, object]], ...] = (("pooled", {"pool": 3.0}), ("whole", {}))


def test_a_passage_may_have_no_vector(tmp_path: Path) -> None:
    folder = late_model(tmp_path, "st-pooled")
    tokeniser = load(folder)._embedder.tokeniser
    words = ["[CLS]", "[SEP]", *WORDS]
    for task in ("2_MultiVectorMask", "3_MultiVectorMask"):
        path = folder / task / "config.json"
        if path.is_file():
            path.write_text(f'{{"skiplist_words": {words}}}'.replace("'", '"'))
    encoder = load(folder)
    found = column(encoder, ["wing flow", "", "x1"])
    assert found.to_pylist()[:2] == [[], []]
    assert len(found[2]) == len(tokeniser.encode(["x1"])[0].ids)
    assert column(load(folder, pool=4.0), [""]).to_pylist() == [[]]


def test_vectors_that_are_no_numbers_are_null(tmp_path: Path) -> None:
    folder = late_model(tmp_path, "st-bert")
    encoder = load(folder)
    number = encoder._embedder.tokeniser.id_of("shock")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][number] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    broken = load(folder)
    texts = ["wing flow", "shock wave", "heat"]
    for found in (column(broken, texts), column(broken, texts[::-1])[::-1]):
        assert [row is None for row in found.to_pylist()] == [False, True, False]
    assert np.isnan(broken.queries(texts).text(1)).any()


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_other_types_are_near(folder: Path, encoder: LateEncoder, dtype: str) -> None:
    rough = load(folder, dtype=dtype)
    for found, whole in (
        (documents(rough, TEXTS), documents(encoder, TEXTS)),
        (rough.queries(TEXTS), encoder.queries(TEXTS)),
    ):
        if found.vectors.shape == whole.vectors.shape:
            lengths = np.linalg.norm(found.vectors, axis=1) * np.linalg.norm(whole.vectors, axis=1)
            assert np.median((found.vectors * whole.vectors).sum(axis=1) / lengths) > 0.99
