"""Encoders that are decoders, by our own forward pass: as transformers has them, input by input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

from shardrank.models.encoders.dense import load_transformer
from shardrank.models.folder.decoder_encoder import is_packed_decoder
from shardrank.models.folder.layout import read_layout
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.batches import make_runner
from shardrank.models.forward.network import Network
from shardrank.models.forward.packed_states import PackedStates
from tests.family_models import save_encoder

#: A window is 8 tokens: of inputs about its edges, and of one token.
LENGTHS = (40, 17, 16, 9, 9, 8, 7, 5, 4, 1, 1)
BOTH = {"use_bidirectional_attention": True}
SLIDING = {"use_sliding_window": True, "max_window_layers": 1, "layer_types": None}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "mistral": ("mistral", {}),
    "qwen2": ("qwen2", {}),
    "qwen2-sliding": ("qwen2", SLIDING),
    "qwen3": ("qwen3", {}),
    "qwen3-sliding": ("qwen3", SLIDING),
    "gemma3": ("gemma3_text", {}),
    "gemma3-both": ("gemma3_text", BOTH),
    "gemma3-scaled": ("gemma3_text", {**BOTH, "query_pre_attn_scalar": 11}),
}


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, more = KINDS[request.param]
    return save_encoder(tmp_path_factory.mktemp("model"), family, **more)


def batch() -> Batch:
    sizes = np.array(LENGTHS, np.int64)
    ids = np.random.default_rng(3).integers(4, 300, sizes.sum())
    return Batch(np.arange(len(sizes)), sizes, torch.from_numpy(ids), None)


def network(folder: Path, dtype: str) -> Network:
    layout = read_layout(folder)
    return load_transformer(layout, dtype, False, make_runner(layout, None, "cpu", dtype))


def expected(folder: Path) -> torch.Tensor:
    """[t, d], one unpadded input at a time."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    each = batch().ids.split(list(LENGTHS))
    return torch.cat([model(input_ids=ids[None], use_cache=False)[0][0] for ids in each])


@torch.inference_mode()
def test_states_are_the_librarys(folder: Path) -> None:
    found = network(folder, "fp32")
    assert isinstance(found, PackedStates)
    torch.testing.assert_close(found.hidden(batch()), expected(folder), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize(("dtype", "least"), [("bf16", 0.995), ("int8", 0.98)])
def test_states_in_fewer_bits_are_near(folder: Path, dtype: str, least: float) -> None:
    found = network(folder, dtype).hidden(batch()).float()
    assert torch.cosine_similarity(found, expected(folder)).min() > least


@torch.inference_mode()
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
def test_one_tokens_state_is_the_same_alone(folder: Path, dtype: str) -> None:
    found, inputs = network(folder, dtype), batch()
    states = found.hidden(inputs).float()
    near = {"atol": 2e-5, "rtol": 1e-4} if dtype == "fp32" else {"atol": 0.1, "rtol": 0.05}
    torch.testing.assert_close(found.last(inputs).float(), states[inputs.ends[1:] - 1], **near)
    torch.testing.assert_close(found.first(inputs).float(), states[inputs.ends[:-1]], **near)


@pytest.mark.parametrize(
    "differing",
    [
        {"attn_logit_softcapping": 50.0},
        {"hidden_activation": "silu"},
        {"attention_bias": True},
        {"layer_types": ["full_attention", "chunked_attention"]},
        {"layer_types": None},
        {"rope_parameters": {"full_attention": {"rope_type": "dynamic", "factor": 2.0}}},
        {"auto_map": {"AutoModel": "own.Model"}},
        {"head_dim": None},
    ],
)
def test_what_is_not_understood_stays_padded(tmp_path: Path, differing: dict[str, Any]) -> None:
    config = read_layout(save_encoder(tmp_path, "gemma3_text")).config
    assert is_packed_decoder(config)
    assert not is_packed_decoder({**config, **differing})
