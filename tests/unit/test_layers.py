"""Encoders of which the first layers alone are run, as transformers has models with fewer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from shardrank.core.errors import SettingsError
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.cards import read_encoder_card
from shardrank.models.complete import check_encoder
from shardrank.models.encoders.dense import load_encoder, load_transformer
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.folder.layers import is_kept
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.batches import make_runner
from shardrank.models.size import encoder_size
from tests.family_models import save_encoder
from tests.reranker_models import V3
from tests.tiny_models import tiny_encoder

LAYERS, LENGTHS = 3, (30, 9, 9, 4, 1)
COUNTED = {"num_hidden_layers": LAYERS}
WINDOWS = {"use_sliding_window": True, "max_window_layers": 1, "layer_types": None}
MIXED = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, COUNTED) for name in ("bert", "mpnet", "llama")},
    **{name: (name, COUNTED) for name in ("xlm-roberta", "electra")},
    "deberta-v2": ("deberta-v2", {**COUNTED, **V3}),
    "modernbert": ("modernbert", {**COUNTED, **MIXED}),
    "gemma3_text": ("gemma3_text", {**COUNTED, **MIXED}),
    "distilbert": ("distilbert", {"n_layers": LAYERS}),
    "qwen3-sliding": ("qwen3", {**COUNTED, **WINDOWS}),
}


def of(folder: Path, **more: Any) -> EncoderSettings:
    return EncoderSettings.model_validate({"model": str(folder), "dtype": "fp32", **more})


def batch() -> Batch:
    sizes = np.array(LENGTHS, np.int64)
    ids = np.random.default_rng(3).integers(4, 300, sizes.sum())
    return Batch(np.arange(len(sizes)), sizes, torch.from_numpy(ids), None)


def states(folder: Path, layers: int | None) -> torch.Tensor:
    layout: Any = read_encoder_folder(of(folder, layers=layers)).towers.documents.source
    made = load_transformer(layout, "fp32", False, make_runner(layout, None, "cpu", "fp32"))
    return made.hidden(batch())


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_the_library_with_fewer_layers(family: str, tmp_path: Path) -> None:
    name, config = FAMILIES[family]
    folder = save_encoder(tmp_path, name, **config)
    key = "n_layers" if name == "distilbert" else "num_hidden_layers"
    whole = states(folder, None)
    for layers in (1, 2):
        model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        stack = model.get_submodule(_stack(model))
        kinds = getattr(model.config, "layer_types", None)
        setattr(model.config, key, layers)
        if kinds:
            model.config.layer_types = kinds[:layers]
        del stack[layers:]
        ids = batch().ids.split(list(LENGTHS))
        expected = torch.cat([model(input_ids=row[None])[0][0] for row in ids])
        found = states(folder, layers)
        torch.testing.assert_close(found, expected, atol=3e-5, rtol=1e-4)
        assert (found - whole).abs().max() > 1e-2
    assert torch.equal(states(folder, LAYERS), whole)
    check_encoder(of(folder, layers=1))


def _stack(model: torch.nn.Module) -> str:
    """The name of the list of layers."""
    return next(
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == LAYERS
    )


def test_vectors_are_those_of_sentence_transformers_with_fewer_layers(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "model", "bert-st")
    texts = ["the cat sat", "a dog", "one two three four five"]
    theirs = SentenceTransformer(str(folder), device="cpu")
    del theirs[0].auto_model.encoder.layer[1:]
    ours = load_encoder(of(folder, layers=1), "cpu").encode_queries(texts)
    assert np.allclose(ours, theirs.encode_query(texts, normalize_embeddings=True), atol=1e-5)


def test_layers_are_in_the_fingerprint_and_weigh_less(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "model", "bert-st")
    cards = [read_encoder_card(of(folder, layers=layers)) for layers in (None, 2, 1)]
    assert cards[0].fingerprint == cards[1].fingerprint != cards[2].fingerprint
    whole, same, half = (encoder_size(of(folder, layers=n)).multiplied for n in (None, 2, 1))
    assert whole == same > half > whole // 3


@pytest.mark.parametrize(
    ("family", "layers", "words"), [("bert", 4, "has 3"), ("albert", 1, "'albert'")]
)
def test_what_has_no_such_layers_is_refused(
    family: str, layers: int, words: str, tmp_path: Path
) -> None:
    folder = save_encoder(tmp_path, family, num_hidden_layers=3)
    with pytest.raises(SettingsError, match=f"encoder.layers = {layers}, but .*{words}"):
        read_encoder_folder(of(folder, layers=layers))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("encoder.layer.2.output.dense.weight", 2),
        ("layers.1.mlp.Wi.weight", 1),
        ("model.layers.0.self_attn.q_proj.weight", 0),
        ("transformer.layer.11.ffn.lin1.bias", 11),
    ],
)
def test_weights_of_layers_are_known_by_name(name: str, number: int) -> None:
    assert is_kept(name, number + 1)
    assert not is_kept(name, number)
    assert is_kept(name, None)
    assert is_kept("embeddings.word_embeddings.weight", 1)
