"""What every learned sparse encoder must do, over the families that users bring.

The reference is sentence-transformers' SparseEncoder on the same folder; of classes that it does
not know, plain loops over transformers' BERT. A new family is one more entry of
tests/sparse_models.py or tests/own_term_models.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder as Reference
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from shardrank.core.arrays import Float32
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.model_settings import SparseSettings
from shardrank.core.sparse import SparseRows, strongest
from shardrank.models.complete import check_sparse
from shardrank.models.encoders.own_terms import OwnWeigher
from shardrank.models.encoders.sparse import MaskedWeigher, SparseEncoder, load_sparse
from shardrank.models.encoders.vdr import SpaceWeigher
from shardrank.models.folder.families import MASKED
from shardrank.models.forward.language_model import PackedLanguageModel
from shardrank.models.text.tokens import FastTokeniser
from tests.own_term_models import OWN_TERM_FAMILIES, PlainReference, own_term_model
from tests.sparse_models import SPARSE_FAMILIES, save_masked, sparse_encoder, splade
from tests.tiny_models import WORDS

TEXTS = [" ".join(WORDS[i : i + n]) for i, n in enumerate([5, 1, 12, 3, 7, 30, 2, 9, 5, 4])]
LONG = " ".join(WORDS * 3)
ALL = [*TEXTS, "", LONG]
OWN_PASS = (
    "bert", "bert-untied", "roberta", "xlm-roberta", "distilbert", "bert-sum", "bert-plain",
    "router",
)  # fmt: skip


#: Those that keep so many terms and a text's own tokens, or none but these.
FEW = ("unicoil", "tilde", "vdr", "vdr-shared")


@pytest.fixture(scope="module", params=[*SPARSE_FAMILIES, *OWN_TERM_FAMILIES])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make = own_term_model if family in OWN_TERM_FAMILIES else sparse_encoder
    return make(tmp_path_factory.mktemp("sparse"), family)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SparseEncoder:
    return load(folder)


@pytest.fixture
def reference(folder: Path, family: str) -> Any:
    if family in OWN_TERM_FAMILIES:
        return PlainReference(folder, family)
    return Reference(str(folder), device="cpu")


def load(folder: Path, **settings: object) -> SparseEncoder:
    table = {"family": "sparse", "model": str(folder), "batch_tokens": 64, **settings}
    return load_sparse(SparseSettings(**table), "cpu")


def filled(encoder: SparseEncoder, rows: SparseRows) -> Float32:
    """float32[n, vocabulary], after a look at the rows."""
    row = np.repeat(np.arange(rows.rows), np.diff(rows.ends))
    assert (rows.terms.dtype, rows.weights.dtype) == (np.uint64, np.float32)
    assert (rows.weights > 0).all()
    assert (np.diff(rows.terms.astype(np.int64))[row[1:] == row[:-1]] > 0).all()
    found = np.zeros((rows.rows, encoder.card.vocabulary), np.float32)
    found[row, rows.terms.astype(np.int64)] = rows.weights
    return found


def documents(encoder: SparseEncoder, texts: list[str]) -> Float32:
    return filled(encoder, encoder.encode_documents(texts))


def queries(encoder: SparseEncoder, texts: list[str]) -> Float32:
    return filled(encoder, encoder.encode_queries(texts))


def close(found: Float32, expected: torch.Tensor | Float32) -> None:
    """Near, and the same terms but for weights near zero."""
    dense = expected.to_dense().numpy() if isinstance(expected, torch.Tensor) else expected
    np.testing.assert_allclose(found, dense, atol=1e-4, rtol=1e-4)
    assert np.maximum(found, dense)[(found > 0) != (dense > 0)].max(initial=0) < 1e-4


def test_documents_equal_the_reference(encoder: SparseEncoder, reference: Any) -> None:
    close(documents(encoder, ALL), reference.encode_document(ALL))


def test_queries_equal_the_reference(encoder: SparseEncoder, reference: Any) -> None:
    close(queries(encoder, ALL), reference.encode_query(ALL))


def test_the_strongest_terms_are_kept(folder: Path, family: str, reference: Any) -> None:
    encoder = load(folder, top=4)
    found = encoder.encode_documents(ALL)
    most = np.diff(found.ends)
    assert most.max() == 4
    assert family in FEW or most.min() == 4
    close(filled(encoder, found), reference.encode_document(ALL, max_active_dims=4))
    close(queries(encoder, ALL), reference.encode_query(ALL))


def test_texts_are_told_apart(encoder: SparseEncoder) -> None:
    """Else all comparisons here would be between equal rows."""
    for found in (documents(encoder, TEXTS), queries(encoder, TEXTS)):
        found = found[found.any(axis=1)]
        assert len(found) > 6
        found = found / np.linalg.norm(found, axis=1, keepdims=True)
        np.fill_diagonal(cosines := found @ found.T, 0)
        assert cosines.max() < 0.9999
    assert 0 < (documents(encoder, TEXTS) > 0).mean() < 1


def test_order_and_batches_do_not_matter(folder: Path, encoder: SparseEncoder) -> None:
    forward = documents(encoder, ALL)
    close(documents(encoder, ALL[::-1])[::-1], forward)
    close(np.concatenate([documents(encoder, [text]) for text in ALL]), forward)
    close(documents(load(folder, batch_tokens=4096), ALL), forward)


def test_pieces_of_a_batch_and_of_a_text_change_nothing(
    encoder: SparseEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = documents(encoder, ALL)
    for most in (1, 7, 50):
        for module in ("sparse", "vdr"):
            name = f"shardrank.models.encoders.{module}.room"
            monkeypatch.setattr(name, lambda *_, n=most: n)
        close(documents(encoder, ALL), expected)


def test_equal_input_gives_equal_bytes(folder: Path, encoder: SparseEncoder) -> None:
    first = documents(encoder, ALL).tobytes()
    assert documents(encoder, ALL).tobytes() == first
    assert documents(load(folder), ALL).tobytes() == first


def test_prompts_act(folder: Path) -> None:
    prompted = load(folder, query_prompt="heat flow ", document_prompt="gas ")
    plain = load(folder, query_prompt="", document_prompt="")
    close(queries(prompted, TEXTS), queries(plain, ["heat flow " + text for text in TEXTS]))
    close(documents(prompted, TEXTS), documents(plain, ["gas " + text for text in TEXTS]))
    assert abs(queries(prompted, TEXTS) - queries(plain, TEXTS)).max() > 0.05


def _cut(model: Any, family: str) -> None:
    """After 20 tokens."""
    if family in OWN_TERM_FAMILIES:
        model.longest = 20
        return
    parts = [way[0] for way in model[0].sub_modules.values()] if family == "router" else [model[0]]
    for part in parts:
        part.tokenizer.model_max_length = 20


def test_long_texts_are_cut_as_the_reference_cuts(
    folder: Path, family: str, reference: Any
) -> None:
    encoder, model = load(folder, max_tokens=20), reference
    _cut(model, family)
    close(documents(encoder, ALL), model.encode_document(ALL))
    close(queries(encoder, ALL), model.encode_query(ALL))
    assert abs(documents(encoder, [LONG]) - documents(load(folder), [LONG])).max() > 1e-3


def test_nothing_in_nothing_out(encoder: SparseEncoder) -> None:
    for rows in (encoder.encode_documents([]), encoder.encode_queries([])):
        assert (rows.rows, len(rows.terms), len(rows.weights)) == (0, 0, 0)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_is_near(folder: Path, family: str, dtype: str) -> None:
    if family.startswith("vdr") and family in FEW:
        pytest.skip("which terms are the strongest hangs on last bits")
    half, whole = (documents(load(folder, dtype=d, top=1000), TEXTS) for d in (dtype, "fp32"))
    norms = np.linalg.norm(half, axis=1) * np.linalg.norm(whole, axis=1)
    assert ((half * whole).sum(1)[norms > 0] / norms[norms > 0]).min() > 0.99


def test_another_model_is_refused(folder: Path, encoder: SparseEncoder) -> None:
    settings = SparseSettings(family="sparse", model=str(folder), max_tokens=21)
    with pytest.raises(IntegrityError, match="do not match"):
        load_sparse(settings, "cpu", encoder.card)


def test_bert_runs_without_transformers(family: str, encoder: SparseEncoder) -> None:
    weigher = encoder._documents
    if family in OWN_TERM_FAMILIES:
        assert isinstance(weigher, OwnWeigher | SpaceWeigher)
        return
    assert isinstance(weigher, MaskedWeigher)
    assert isinstance(weigher.model, PackedLanguageModel) == (family in OWN_PASS)


def counted(encoder: SparseEncoder, tokeniser: FastTokeniser, texts: list[str]) -> Float32:
    """float32[n, vocabulary]: how often each token occurs."""
    most = encoder.card.vocabulary
    rows = [np.bincount(span.ids, minlength=most) for span in tokeniser.encode(texts)]
    return np.array(rows, np.float32)


REPEATS = ["heat heat flow", "", "flow wing flow heat"]


def test_documents_by_their_own_tokens_alone(folder: Path) -> None:
    """With a weight of 1, whatever the model is; queries are as ever."""
    encoder = load(folder, document_terms="tokens", document_prompt="")
    expected = counted(encoder, encoder._documents.tokeniser, REPEATS)
    assert expected.max() >= 2
    assert (documents(encoder, REPEATS) == np.minimum(expected, 1)).all()
    close(queries(encoder, TEXTS), queries(load(folder), TEXTS))
    assert encoder.card.fingerprint != load(folder, document_prompt="").card.fingerprint


def test_queries_by_their_own_tokens_alone(folder: Path, family: str) -> None:
    """As often as they occur; documents are as ever. TILDEv2's are so already."""
    encoder = load(folder, query_terms="tokens", query_prompt="")
    expected = counted(encoder, encoder._queries.tokeniser, REPEATS)
    assert (queries(encoder, REPEATS) == expected).all()
    close(documents(encoder, TEXTS), documents(load(folder), TEXTS))
    plain = load(folder, query_prompt="").card.fingerprint
    assert (encoder.card.fingerprint == plain) == (family == "tilde")


def test_a_term_of_an_empty_query_has_no_weight(tmp_path: Path) -> None:
    encoder = load(sparse_encoder(tmp_path, "router"))
    assert np.diff(encoder.encode_queries(["", "heat heat flow", "heat flow"]).ends)[0] == 0
    both = queries(encoder, ["heat heat flow", "flow heat"])
    assert (both[0] == both[1]).all()
    assert both[0].any()


def test_of_two_terms_with_one_weight_the_lower_is_kept() -> None:
    ends, terms = np.array([0, 4, 5]), np.array([1, 3, 5, 7, 2], np.uint64)
    rows = SparseRows(ends, terms, np.array([1, 2, 2, 2, 1], np.float32))
    kept = strongest(rows, 2)
    assert (kept.terms.tolist(), kept.ends.tolist()) == ([3, 5, 2], [0, 2, 3])
    assert strongest(rows, None) is rows
    assert strongest(rows, 4) is rows


def as_the_library(tmp_path: Path, family: str) -> None:
    """Text by text and in one batch, as saved by transformers."""
    splade(save_masked(tmp_path / "raw", family)).save(str(tmp_path / "st"))
    model = Reference(str(tmp_path / "st"), device="cpu")
    check_sparse(SparseSettings(family="sparse", model=str(tmp_path / "st")))
    encoder = load(tmp_path / "st")
    expected = np.concatenate([model.encode_document([t]).to_dense().numpy() for t in TEXTS])
    assert expected.std(0).max() > 0.1, "or the comparison says nothing"
    close(documents(encoder, TEXTS), expected)
    close(np.concatenate([documents(encoder, [text]) for text in TEXTS]), expected)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(MASKED))
def test_all_families(tmp_path: Path, family: str) -> None:
    as_the_library(tmp_path, family)


def test_what_is_listed_is_known_to_transformers() -> None:
    assert {*MODEL_FOR_MASKED_LM_MAPPING_NAMES} >= MASKED


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    folder = sparse_encoder(tmp_path, "bert")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="holds neither"):
        load(folder)
