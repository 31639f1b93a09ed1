"""One generated folder or feed through our code and through the library: equal, or refused."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sentence_transformers import CrossEncoder, SentenceTransformer

from shardrank.core.arrays import Float32
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.cards import read_encoder_card, read_reranker_card
from shardrank.models.complete import check_encoder, check_reranker
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.rerankers.cross import load_reranker
from tests.generated.encoder_folders import FolderSpec, write_folder
from tests.generated.reranker_folders import RerankerSpec, relevant_label, write_reranker
from tests.tiny_models import MAX_TOKENS, WORDS

TEXTS = [
    "",
    "wing",
    "Heat Flow",
    "  jet   nozzle",
    " ".join(WORDS[:30]),
    " ".join(WORDS * 3),
    "Überschall </s> <pad> [SEP] x9",
]
#: No query that fills half of an input: the library cuts the longer text first, we the passage.
PAIRS = [(query, passage) for query in ("heat", "Wing flow") for passage in TEXTS]


def tried(specs: st.SearchStrategy[Any], compare: Callable[[Any], bool], examples: int) -> float:
    """The share of so many specs that are run; raises at the first one that is run wrongly."""
    run: list[bool] = []

    @settings(
        max_examples=examples,
        phases=[Phase.generate],  # a failure names its spec, and making it smaller takes minutes
        report_multiple_bugs=False,
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck],
    )
    @given(specs)
    def each(spec: Any) -> None:
        run.append(compare(spec))

    each()
    return sum(run) / len(run)


def compare_encoder(spec: FolderSpec) -> bool:
    """Whether the folder is run; raises AssertionError where its vectors are not the library's."""
    folder = write_folder(spec, Path(mkdtemp()) / "model")
    try:
        found = _our_vectors(folder)
    except (InputError, SettingsError):
        return False
    else:
        for mine, right in zip(found, _their_vectors(folder), strict=True):
            np.testing.assert_allclose(mine, right, atol=2e-5, err_msg=str(spec))
        return True
    finally:
        shutil.rmtree(folder.parent)


def compare_reranker(spec: RerankerSpec) -> bool:
    """Whether the folder is run; raises AssertionError where its logits are not the library's."""
    folder = write_reranker(spec, Path(mkdtemp()) / "model")
    try:
        found = _our_logits(folder)
    except (InputError, SettingsError):
        return False
    else:
        right = _their_logits(folder, relevant_label(spec))
        np.testing.assert_allclose(found, right, atol=2e-5, err_msg=str(spec))
        return True
    finally:
        shutil.rmtree(folder.parent)


def _our_vectors(folder: Path) -> tuple[Float32, Float32]:
    """TEXTS as documents and as queries; raises as a command would."""
    wanted = EncoderSettings(model=str(folder), dtype="fp32", batch_tokens=256)
    check_encoder(wanted)
    card = read_encoder_card(wanted)
    encoder = load_encoder(wanted, "cpu", card)
    prompted = [card.document_prompt + text for text in TEXTS]
    documents = encoder.encode_ids([spans.ids for spans in encoder.tokeniser.encode(prompted)])
    return documents, encoder.encode_queries(TEXTS)


def _their_vectors(folder: Path) -> tuple[Float32, Float32]:
    logging.disable(logging.WARNING)
    model = SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, local_files_only=True
    )
    if model.max_seq_length is None or model.max_seq_length > MAX_TOKENS:
        model.max_seq_length = MAX_TOKENS  # the library would ask RoBERTa for two more, and fail
    # One by one: where rows are filled on the left, the library's vectors depend on the batch.
    cosine = model.similarity_fn_name == "cosine"
    how = {"normalize_embeddings": cosine, "batch_size": 1, "show_progress_bar": False}
    return model.encode_document(TEXTS, **how), model.encode_query(TEXTS, **how)


def _our_logits(folder: Path) -> Float32:
    wanted = CrossSettings(model=str(folder), dtype="fp32", batch_tokens=256)
    check_reranker(wanted)
    reranker = load_reranker(wanted, "cpu", read_reranker_card(wanted))
    queries = reranker.tokeniser.encode([reranker.prompt + query for query, _ in PAIRS])
    passages = reranker.tokeniser.encode([passage for _, passage in PAIRS])
    each = np.arange(len(PAIRS), dtype=np.int32)
    return reranker.score([q.ids for q in queries], [p.ids for p in passages], each, each).logits


def _their_logits(folder: Path, relevant: int) -> Float32:
    logging.disable(logging.WARNING)
    model = CrossEncoder(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, local_files_only=True
    )
    if model.max_seq_length is None or model.max_seq_length > MAX_TOKENS:
        model.max_seq_length = MAX_TOKENS
    found: Float32 = model.predict(PAIRS, batch_size=1, activation_fn=torch.nn.Identity())
    return found if found.ndim == 1 else found[:, relevant] - found[:, 1 - relevant]
