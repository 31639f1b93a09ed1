"""Every family on the lists gives what sentence-transformers gives, in any batch; others are
refused by name. Weights are random: a family is its forward pass."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from shardrank.core.arrays import Float32
from shardrank.core.errors import InputError
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.cards import read_encoder_card, read_reranker_card
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.folder.families import CLASSIFIERS, ENCODERS, HALVES, check_family
from shardrank.models.rerankers.cross import load_reranker
from tests.family_models import save_classifier, save_encoder
from tests.tiny_models import WORDS, edit_json

TEXTS = [" ".join(WORDS[i : i + n]) for i, n in enumerate([5, 1, 12, 3, 7, 33, 2, 9])]
FEW_ENCODERS = ("distilbert", "modernbert", "mpnet", "qwen3", "t5", "m2m_100")
FEW_CLASSIFIERS = ("deberta-v2", "electra", "gemma", "modernbert", "gpt_neox", "xlm-roberta-xl")
BOTH = ("sequence-classification", "feature-extraction")


def as_the_library(folder: Path) -> None:
    """An encoder's vectors, text by text and in one batch."""
    model = SentenceTransformer(str(folder), device="cpu")
    encoder = load_encoder(EncoderSettings(model=str(folder)), "cpu")
    ids = [spans.ids for spans in encoder.tokeniser.encode(TEXTS)]
    expected = np.concatenate([model.encode([t], normalize_embeddings=True) for t in TEXTS])
    np.fill_diagonal(cosines := expected @ expected.T, 0)
    assert cosines.max() < 0.9999, "or the comparison says nothing"
    close(np.concatenate([encoder.encode_ids([row]) for row in ids]), expected)
    close(encoder.encode_ids(ids), expected)


def close(found: Float32, expected: Float32) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-4)


def encoders(tmp_path: Path, family: str) -> None:
    """As saved by sentence-transformers; for most, as saved by transformers too."""
    raw = save_encoder(tmp_path / "raw", family)
    if family == "big_bird":
        edit_json(raw / "config.json", attention_type="original_full")
    transformer = Transformer(str(raw))
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(tmp_path / "st"))
    as_the_library(tmp_path / "st")
    if family not in HALVES or HALVES[family].from_whole:
        as_the_library(raw)
        return
    with pytest.raises(InputError, match="has a decoder; its encoder alone is run"):
        read_encoder_card(EncoderSettings(model=str(raw)))


def classifiers(folder: Path, family: str, pad: bool) -> None:
    """The library's logits one by one: it refuses batches where no token is for padding."""
    save_classifier(folder, family, pad)
    model = CrossEncoder(str(folder), device="cpu")
    reranker = load_reranker(CrossSettings(model=str(folder)), "cpu")
    ids = [spans.ids for spans in reranker.tokeniser.encode(TEXTS)]
    left, right = (grid.ravel().astype(np.int32) for grid in np.mgrid[:3, 3:8])
    pairs = [(TEXTS[i], TEXTS[j]) for i, j in zip(left, right, strict=True)]
    expected = model.predict(pairs, batch_size=1, activation_fn=torch.nn.Identity())
    assert expected.std() > 1e-3, "or the comparison says nothing"
    close(reranker.score(ids, ids, left, right).logits, expected)
    each = [reranker.score(ids, ids, left[i : i + 1], right[i : i + 1]) for i in range(len(pairs))]
    close(np.concatenate([one.logits for one in each]), expected)


@pytest.mark.parametrize("family", FEW_ENCODERS)
def test_encoders(tmp_path: Path, family: str) -> None:
    encoders(tmp_path, family)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({*ENCODERS, *HALVES} - {*FEW_ENCODERS}))
def test_all_encoders(tmp_path: Path, family: str) -> None:
    encoders(tmp_path, family)


@pytest.mark.parametrize("family", FEW_CLASSIFIERS)
def test_classifiers(tmp_path: Path, family: str) -> None:
    classifiers(tmp_path, family, pad=True)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(CLASSIFIERS - {*FEW_CLASSIFIERS}))
def test_all_classifiers(tmp_path: Path, family: str) -> None:
    classifiers(tmp_path, family, pad=True)


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("bart", "gives its decoder's states"),
        ("dpr", "gives one vector of its own"),
        ("funnel", "fewer states"),
        ("convbert", "see the padding"),
        ("layoutlmv3", "takes more than token ids"),
        ("clip", "several models in one"),
        ("whisper", "was not tried"),
        ("", "was not tried"),
    ],
)
def test_other_encoders_are_refused_by_name(family: str, reason: str) -> None:
    config = {"model_type": family, "architectures": ["Named"], "text_config": {}}
    if family != "clip":
        del config["text_config"]
    with pytest.raises(InputError, match=rf"{reason}") as raised:
        check_family(config, "feature-extraction")
    assert f"{family or 'without a name'!r} (Named)" in str(raised.value)


def test_projections_and_attention_that_changes_are_refused() -> None:
    opt = {"model_type": "opt", "hidden_size": 32, "word_embed_proj_dim": 16}
    with pytest.raises(InputError, match="projects its hidden states"):
        check_family(opt, "feature-extraction")
    check_family({**opt, "word_embed_proj_dim": 32}, "feature-extraction")
    with pytest.raises(InputError, match="depend on what came before"):
        check_family({"model_type": "big_bird"}, "feature-extraction")


def test_other_classifiers_are_refused_by_name(tmp_path: Path) -> None:
    folder = save_classifier(tmp_path, "bert", pad=True)
    for family, reason in {
        "bart": "has a decoder",
        "t5": "has a decoder",
        "new": "not tried",
    }.items():
        edit_json(folder / "config.json", model_type=family)
        with pytest.raises(InputError, match=reason):
            read_reranker_card(CrossSettings(model=str(folder)))


def test_trusted_code_is_its_authors() -> None:
    config = {"model_type": "mine", "auto_map": {"AutoModel": "modeling.Mine"}}
    for task in BOTH:
        check_family(config, task, trusted=True)
        with pytest.raises(InputError, match="not tried"):
            check_family(config, task)
        with pytest.raises(InputError, match="not tried"):
            check_family({"model_type": "mine"}, task, trusted=True)


def test_what_is_listed_is_known_to_transformers() -> None:
    assert {*ENCODERS, *HALVES} <= {*MODEL_MAPPING_NAMES}
    assert {*MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES} >= CLASSIFIERS
