"""Every format into the sentence-transformers loss that it names: loaded as it is, real steps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, disable_progress_bars, load_dataset
from sentence_transformers import CrossEncoder, CrossEncoderTrainer
from sentence_transformers import SentenceTransformer as BiEncoder
from sentence_transformers import SentenceTransformerTrainer as BiEncoderTrainer
from sentence_transformers.base.training_args import BaseTrainingArguments
from sentence_transformers.cross_encoder import losses as cross_losses
from sentence_transformers.cross_encoder.training_args import CrossEncoderTrainingArguments
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.training_args import (
    SentenceTransformerTrainingArguments as BiEncoderArguments,
)

from shardrank.labels.formats import FORMATS
from tests.world import World, make_world, shardrank

SETS = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=64",
    "search.k=20",
    "reranker.depth=8",
    "label.depth=8",
    "label.negatives=3",
    "label.near_duplicate=none",
)

pytestmark = [
    pytest.mark.usefixtures("inline"),
    # Of the trainers and of what they import, not of ours.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=80, queries=12)


@pytest.fixture(scope="module")
def labels(
    tmp_path_factory: pytest.TempPathFactory, world: World, inline: pytest.MonkeyPatch
) -> Path:
    """All formats of one ranking."""
    root = tmp_path_factory.mktemp("labels")
    assert shardrank(*world.index(root / "index", *SETS)) == 0
    assert shardrank(*world.rank(root / "index", root / "out", *SETS)) == 0
    model = f"reranker.model={world.reranker}"
    sets = [word for value in (*SETS, model) for word in ("--set", value)]
    for name in FORMATS:
        words = [str(root / "out"), str(root / "labels"), "-f", name, "--qrels", world.qrels]
        assert shardrank("label", *words, *sets) == 0
    return root / "labels"


def load(labels: Path, name: str, cache: Path) -> Dataset:
    """As a user would."""
    disable_progress_bars()
    return load_dataset(str(labels / name), split="train", cache_dir=str(cache))


LOSSES: list[tuple[str, Any]] = [
    ("triplets", losses.MultipleNegativesRankingLoss),
    ("triplets", losses.TripletLoss),
    ("margin-mse", losses.MarginMSELoss),
    ("listwise", lambda model: losses.DistillKLDivLoss(model, temperature=1.0)),
    ("ranknet", lambda model: losses.DistillKLDivLoss(model, temperature=1.0)),
    ("partial-order", losses.MultipleNegativesRankingLoss),
]
CROSS_LOSSES = [
    ("soft-labels", cross_losses.ListNetLoss),
    ("pointwise", cross_losses.MSELoss),
    ("pseudo-pairs", cross_losses.BinaryCrossEntropyLoss),
    ("margin-mse", cross_losses.MarginMSELoss),
]


def arguments(kind: type[BaseTrainingArguments], folder: Path) -> Any:
    return kind(
        output_dir=str(folder),
        max_steps=3,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
    )


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("name", "loss"), LOSSES)
def test_a_bi_encoder_learns(
    name: str, loss: Any, labels: Path, world: World, tmp_path: Path
) -> None:
    model = BiEncoder(str(world.encoder), device="cpu")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    dataset = load(labels, name, tmp_path / "cache")
    args = arguments(BiEncoderArguments, tmp_path / "run")
    trained = BiEncoderTrainer(model, args, train_dataset=dataset, loss=loss(model)).train()
    assert np.isfinite(trained.training_loss)
    assert trained.training_loss > 0
    assert changed(before, model.state_dict())


@pytest.mark.parametrize(("name", "loss"), CROSS_LOSSES)
def test_a_cross_encoder_learns(
    name: str, loss: Any, labels: Path, world: World, tmp_path: Path
) -> None:
    model = CrossEncoder(str(world.reranker), device="cpu")
    before = {k: v.clone() for k, v in model.model.state_dict().items()}
    dataset = load(labels, name, tmp_path / "cache")
    args = arguments(CrossEncoderTrainingArguments, tmp_path / "run")
    trained = CrossEncoderTrainer(model, args, train_dataset=dataset, loss=loss(model)).train()
    assert np.isfinite(trained.training_loss)
    assert changed(before, model.model.state_dict())


def test_the_losses_teach_what_the_teacher_said(labels: Path, tmp_path: Path) -> None:
    """With the teachers' own scores as the student's, the losses are at their least."""
    rows = load(labels, "listwise", tmp_path / "cache").with_format("numpy")
    where = load(labels / "about/listwise", "ids", tmp_path / "cache").with_format("numpy")
    teacher = torch.tensor(np.stack([row["score"] for row in where]))
    target = torch.tensor(np.stack([row["label"] for row in rows])).softmax(dim=1)
    assert torch.allclose(target, teacher.softmax(dim=1), atol=1e-5)
    pairs = load(labels, "ranknet", tmp_path / "cache").with_format("numpy")
    beside = load(labels / "about/ranknet", "ids", tmp_path / "cache").with_format("numpy")
    gaps = np.array([row["score"][0] - row["score"][1] for row in beside])
    preference = torch.tensor(np.stack([row["label"] for row in pairs])).softmax(dim=1)[:, 0]
    # RankNet's target: the probability that the first is better.
    np.testing.assert_allclose(preference, 1 / (1 + np.exp(-gaps)), rtol=1e-4)


def test_types_are_those_that_trainers_take(labels: Path, tmp_path: Path) -> None:
    def kind(feature: Any) -> str:
        return str(feature.dtype if hasattr(feature, "dtype") else feature.feature.dtype)

    kinds = {}
    for name in sorted(set(FORMATS) - {"tevatron"}):
        features = load(labels, name, tmp_path / "cache").features
        kinds[name] = {column: kind(feature) for column, feature in features.items()}
    assert kinds["margin-mse"] == {
        "query": "string",
        "positive": "string",
        "negative": "string",
        "score": "float32",
    }
    assert kinds["soft-labels"] == {"query": "string", "passages": "string", "labels": "float32"}
    assert kinds["listwise"]["label"] == "float32"


def test_tevatron_lines(labels: Path, tmp_path: Path) -> None:
    lines = (labels / "tevatron" / "00000.jsonl").read_text("utf-8").splitlines()
    for line in map(json.loads, lines):
        positives = {passage["docid"] for passage in line["positive_passages"]}
        negatives = [passage["docid"] for passage in line["negative_passages"]]
        assert positives
        assert negatives
        assert not positives & set(negatives)
        assert len(set(negatives)) == len(negatives)
