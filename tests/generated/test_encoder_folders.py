"""Whole folders against sentence-transformers: the same vectors, or a refusal; never others.

`make test-long`; SHARDRANK_EXAMPLES says how many folders are tried.
"""

import logging
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from sentence_transformers import SentenceTransformer

from pipelines.core.errors import InputError, SettingsError
from pipelines.core.protocols import Float32
from pipelines.core.settings import EncoderSettings
from pipelines.models.card import EncoderCard, read_encoder_card
from pipelines.models.complete import check_encoder
from pipelines.models.encoder import load_encoder
from tests.generated.encoder_folders import SPECS, FolderSpec, described, write_folder
from tests.tiny_models import MAX_TOKENS, WORDS

EXAMPLES = int(os.environ.get("SHARDRANK_EXAMPLES", "300"))
TEXTS = [
    "",
    "wing",
    "Heat Flow",
    "  jet   nozzle",
    " ".join(WORDS[:30]),
    " ".join(WORDS * 3),
    "Überschall </s> <pad> [SEP] x9",
]


def ours(folder: Path) -> tuple[EncoderCard, Float32, Float32]:
    """The card, and the vectors of TEXTS as documents and as queries; raises as a command would."""
    wanted = EncoderSettings(model=str(folder), dtype="fp32", batch_tokens=256)
    check_encoder(wanted)
    card = read_encoder_card(wanted)
    encoder = load_encoder(wanted, "cpu", card.fingerprint)
    prompted = [card.document_prompt + text for text in TEXTS]
    documents = encoder.encode_ids([spans.ids for spans in encoder.tokeniser.encode(prompted)])
    return card, documents, encoder.encode_queries(TEXTS)


def theirs(folder: Path, card: EncoderCard) -> tuple[Float32, Float32]:
    logging.disable(logging.WARNING)
    model = SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, local_files_only=True
    )
    if model.max_seq_length is None or model.max_seq_length > MAX_TOKENS:
        model.max_seq_length = MAX_TOKENS  # the library would ask RoBERTa for two more, and fail
    # One by one: where rows are filled on the left, the library's vectors depend on the batch.
    how = {"normalize_embeddings": card.normalise, "batch_size": 1, "show_progress_bar": False}
    return model.encode_document(TEXTS, **how), model.encode_query(TEXTS, **how)


def compare(spec: FolderSpec) -> bool:
    """Whether the folder is run; raises AssertionError where it is run wrongly."""
    folder = write_folder(spec, Path(mkdtemp()) / "model")
    try:
        card, documents, queries = ours(folder)
    except (InputError, SettingsError):
        return False
    else:
        expected = theirs(folder, card)
        for found, right in zip((documents, queries), expected, strict=True):
            np.testing.assert_allclose(found, right, atol=2e-5, err_msg=str(described(spec)))
        return True
    finally:
        shutil.rmtree(folder.parent)


def try_folders(examples: int) -> tuple[int, int]:
    """How many folders were tried, and how many were run; raises at the first wrong one."""
    tried: list[bool] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(SPECS)
    def run(spec: FolderSpec) -> None:
        tried.append(compare(spec))

    run()
    return len(tried), sum(tried)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_folders_are_run_right_or_refused() -> None:
    tried, run = try_folders(EXAMPLES)
    assert run > tried / 20  # else they would all be refused, and nothing be compared
