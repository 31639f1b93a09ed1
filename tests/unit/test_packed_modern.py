"""ModernBERT's packed forward pass: against transformers on padded rows, and its parts against
plain formulas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shardrank.kernels.float_loops import gate_floats, turn_floats
from shardrank.kernels.gated_loops import expand_gate, expand_join, gate, join, turn_pairs
from shardrank.kernels.int8_loops import expand
from shardrank.models.folder.layout import read_layout
from shardrank.models.folder.modern import is_modern
from shardrank.models.forward.int8 import Int8Linear
from shardrank.models.forward.linear import FloatLinear
from shardrank.models.forward.near_attention import Near, attend_near
from shardrank.models.forward.norm import Norm
from shardrank.models.forward.packed_modern import (
    Angles,
    ModernClassifier,
    PackedModern,
    read_modern_state,
)
from shardrank.models.forward.padded import load_classifier, load_network
from tests.family_models import save_classifier, save_encoder
from tests.tiny_models import edit_json
from tests.unit.test_packed import CPU, batch

#: Around the window of 128, where a token sees 64 to either side.
AROUND = [200, 129, 128, 65, 64, 63, 1]
FULL, NEAR = "full_attention", "sliding_attention"
#: Heads of 8, 6 and 2 numbers; biases everywhere; other windows, orders of layers and turns.
CONFIGS: dict[str, dict[str, Any]] = {
    "as trained": {"local_attention": 128, "max_position_embeddings": 256},
    "near last": {"layer_types": [FULL, NEAR, NEAR, FULL, NEAR], "num_hidden_layers": 5},
    "near only": {"layer_types": [NEAR, NEAR], "local_attention": 6},
    "full only": {"layer_types": [FULL, FULL]},
    "odd heads": {"hidden_size": 24, "num_attention_heads": 4, "local_attention": 37},
    "smallest heads": {"hidden_size": 10, "num_attention_heads": 5},
    "biases": {
        "attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True,
    },
    "other turns": {
        "rope_parameters": {FULL: {"rope_theta": 500.0}, NEAR: {"rope_theta": 30.0}},
        "norm_eps": 1e-2,
    },
}  # fmt: skip
OLDER = {"global_attn_every_n_layers": 2, "global_rope_theta": 900.0, "local_rope_theta": 70.0}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CONFIGS[request.param]


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.float(), expected.float(), atol=5e-5, rtol=1e-4)


@torch.inference_mode()
def same_states(folder: Path, lengths: list[int]) -> None:
    layout, made = read_layout(folder), batch(lengths)
    assert is_modern(layout.config)
    packed = PackedModern(read_modern_state(layout), layout.config, "fp32")
    padded = load_network(folder, "fp32", False, CPU)
    close(packed.hidden(made), padded.hidden(made))
    close(packed.first(made), padded.first(made))


def test_packed_equals_padded(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = save_encoder(tmp_path, "modernbert", **config)
    same_states(folder, AROUND)
    same_states(folder, [3, 2])


def test_older_files(tmp_path: Path) -> None:
    """Whose keys say the order of layers and the turns otherwise."""
    folder = save_encoder(tmp_path, "modernbert", layer_types=[FULL, NEAR] * 2, num_hidden_layers=4)
    edit_json(folder / "config.json", layer_types=None, rope_parameters=None, **OLDER)
    same_states(folder, AROUND)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.inference_mode()
def test_classifiers(tmp_path: Path, config: dict[str, Any], pooling: str) -> None:
    folder = save_classifier(tmp_path, "modernbert", pad=True, classifier_pooling=pooling, **config)
    layout, made = read_layout(folder), batch(AROUND)
    packed = ModernClassifier(read_modern_state(layout), layout.config, "fp32")
    assert packed.labels == 1
    close(packed(made), load_classifier(folder, "fp32", False, CPU)(made))


@pytest.mark.parametrize(("dtype", "error"), [("bf16", 5e-3), ("int8", 5e-3), ("fp16", 1e-3)])
@torch.inference_mode()
def test_fewer_bits_are_near(tmp_path: Path, dtype: str, error: float) -> None:
    folder = save_encoder(tmp_path, "modernbert", **CONFIGS["near last"])
    layout, made = read_layout(folder), batch(AROUND)
    exact, short = (
        PackedModern(read_modern_state(layout), layout.config, each) for each in ("fp32", dtype)
    )
    for ask in ("hidden", "first"):
        expected, found = getattr(exact, ask)(made), getattr(short, ask)(made)
        cosines = torch.cosine_similarity(expected, found.float(), dim=1)
        assert (1 - cosines).mean() < error
        assert found.dtype == torch.float32


@pytest.mark.parametrize(
    "told",
    [
        {"hidden_activation": "silu"},
        {"classifier_activation": "relu"},
        {"rope_parameters": {FULL: {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}},
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        {"local_rope_theta": None, "rope_parameters": None},
        {"layer_types": [FULL]},
        {"layer_types": ["chunked_attention", FULL]},
        {"head_dim": 16},
        {"sliding_window": 4},
        {"auto_map": {"AutoModel": "own.Model"}},
        {"model_type": "modernbert-decoder"},
    ],
)
def test_what_is_not_understood_is_the_librarys(tmp_path: Path, told: dict[str, Any]) -> None:
    folder = save_encoder(tmp_path, "modernbert")
    assert is_modern(read_layout(folder).config)
    edit_json(folder / "config.json", **told)
    assert not is_modern(read_layout(folder).config)


def near(q: Tensor, k: Tensor, v: Tensor, lengths: list[int], reach: int) -> Tensor:
    """softmax(q·kᵀ/√d)·v, input by input, of tokens that are near."""
    found, begin = [], 0
    for length in lengths:
        mine = slice(begin, begin + length)
        places = torch.arange(length)
        far = (places[:, None] - places).abs() > reach
        products = torch.einsum("qhd,khd->hqk", q[mine], k[mine]) / q.shape[2] ** 0.5
        weights = products.masked_fill(far, -torch.inf).softmax(-1)
        found.append(torch.einsum("hqk,khd->qhd", weights, v[mine]))
        begin = mine.stop
    return torch.cat(found).flatten(1)


Long = st.lists(st.integers(1, 90), min_size=1, max_size=5).map(lambda x: sorted(x)[::-1])


@given(Long, st.integers(0, 20), st.integers(0, 10**6), st.sampled_from([3, 4]), st.booleans())
@settings(max_examples=80, deadline=None)
def test_attention_to_near_tokens_is_the_formula(
    lengths: list[int], reach: int, seed: int, width: int, short: bool
) -> None:
    made = batch(lengths)
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, len(made.ids), 3, width).bfloat16().unbind()
    expected = near(q.float(), k.float(), v.float(), lengths, reach)
    if not short:
        found = attend_near(q.float(), k.float(), v.float(), Near(made, reach))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        return
    with pytest.MonkeyPatch.context() as patch:
        for module in ("attention", "fused"):
            patch.setattr(f"shardrank.models.forward.{module}.attends_in_bf16", lambda: True)
        found = attend_near(q, k, v, Near(made, reach))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)


@given(Long, st.integers(0, 20))
def test_pieces_are_all_tokens_of_longer_inputs(lengths: list[int], reach: int) -> None:
    made = Near(batch(lengths), reach)
    pieces = made.pieces
    tokens = [t for b, n in zip(pieces.begins, pieces.sizes, strict=True) for t in range(b, b + n)]
    assert tokens == list(range(sum(length for length in lengths if length > reach + 1)))
    assert (pieces.sizes <= pieces.length).all()
    assert (pieces.seen_sizes <= pieces.seen_length).all()
    assert made.short.sizes.tolist() == [length for length in lengths if length <= reach + 1]


@given(Long, st.integers(0, 20))
def test_what_first_tokens_see(lengths: list[int], reach: int) -> None:
    made = batch(lengths)
    tokens, around = Near(made, reach).around_first
    begins = np.cumsum([0, *lengths[:-1]])
    sizes = [min(length, reach + 1) for length in lengths]
    expected = [t for b, n in zip(begins, sizes, strict=True) for t in range(b, b + n)]
    assert tokens.tolist() == expected
    assert around.sizes.tolist() == sizes
    assert around.ids.tolist() == made.ids[expected].tolist()


def test_cost_grows_with_the_length() -> None:
    """A piece of 64 tokens sees 192, however long its input is."""
    pieces = Near(batch([8192]), 64).pieces
    assert (len(pieces.begins), pieces.length, pieces.seen_length) == (128, 64, 192)


def bits(x: Tensor) -> Any:
    return x.view(torch.uint16).numpy()


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_gates(seed: int, n: int, half: int) -> None:
    torch.manual_seed(seed)
    x = 3 * torch.randn(n, 2 * half)
    short = x.bfloat16()
    gate(bits(short), bits(out := torch.empty(n, half, dtype=torch.bfloat16)))
    bent = torch.nn.functional.gelu(short.float())
    torch.testing.assert_close(out.float(), bent[:, :half] * short[:, half:].float(), rtol=5e-3,
                               atol=1e-4)  # fmt: skip
    products = (x * 1000).int().numpy()
    rows, columns = np.full(n, 0.1, np.float32), np.full(2 * half, 0.01, np.float32)
    bias = torch.randn(2 * half).numpy()
    found, plain = np.empty((n, half), np.float32), np.empty((n, 2 * half), np.float32)
    expand_gate(products, rows, columns, bias, found)
    expand(products, rows, columns, bias, plain)
    gelu = torch.nn.functional.gelu(torch.from_numpy(plain[:, :half])).numpy()
    off = abs(found - gelu * plain[:, half:])
    assert (off <= 4e-6 * (1 + abs(plain[:, :half])) * (1 + abs(plain[:, half:]))).all()


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(2, 40))
@settings(max_examples=40, deadline=None)
def test_what_joins_the_stream_is_normalised(seed: int, n: int, m: int) -> None:
    torch.manual_seed(seed)
    stream, weight, bias = torch.randn(n, m), torch.randn(m), torch.randn(m)
    norm, x = Norm(weight, bias, 1e-5), torch.randn(n, m).bfloat16()
    expected = stream + x.float()
    join(bits(x), (own := stream.clone()).numpy(), norm.affine, bits(out := torch.empty_like(x)))
    assert torch.equal(own, expected)
    torch.testing.assert_close(out.float(), norm(expected), rtol=1e-2, atol=1e-2)
    products = torch.randint(-(10**6), 10**6, (n, m), dtype=torch.int32).numpy()
    rows, columns = np.full(n, 1e-3, np.float32), np.full(m, 1e-3, np.float32)
    own, found, plain = stream.clone(), np.empty((n, m), np.float32), np.empty((n, m), np.float32)
    expand_join(products, rows, columns, bias.numpy(), own.numpy(), norm.affine, found)
    expand(products, rows, columns, bias.numpy(), plain)
    torch.testing.assert_close(own, stream + torch.from_numpy(plain), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(found), norm(own), rtol=1e-3, atol=1e-3)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_gates_in_float32(seed: int, n: int, half: int) -> None:
    torch.manual_seed(seed)
    x, bias, out = 3 * torch.randn(n, 2 * half), torch.randn(2 * half), torch.empty(n, half)
    first, second = (x + bias).chunk(2, 1)
    gate_floats(x.clone().numpy(), bias.numpy(), out.numpy())
    torch.testing.assert_close(out, torch.nn.functional.gelu(first) * second, rtol=1e-5, atol=1e-5)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 4), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_planes_are_turned_in_float32(seed: int, t: int, heads: int, planes: int) -> None:
    torch.manual_seed(seed)
    x, angles = torch.randn(t, 4, 2 * planes), Angles(*torch.randn(2, t, planes))
    mine = torch.view_as_complex(x[:, :heads].unflatten(2, (planes, 2)))
    turned = torch.view_as_real(mine * angles.turns[:, None]).flatten(2)
    expected = torch.cat([turned, x[:, heads:]], 1)
    turn_floats(x.numpy(), heads, *(each.numpy() for each in angles.doubled))
    torch.testing.assert_close(x, expected)
    assert torch.equal(x[:, heads:], expected[:, heads:])


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 4), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_planes_are_turned(seed: int, t: int, heads: int, planes: int) -> None:
    torch.manual_seed(seed)
    x, angles = torch.randn(t, 4, 2 * planes).bfloat16(), torch.randn(t, planes)
    cos, sin = angles.cos(), angles.sin()
    a, b = x.float().view(t, 4, planes, 2).unbind(-1)
    turned = torch.stack(
        [a * cos[:, None] - b * sin[:, None], a * sin[:, None] + b * cos[:, None]], -1
    ).flatten(-2)
    expected = torch.cat([turned[:, :heads], x[:, heads:].float()], 1)
    turn_pairs(x.view(torch.int32).numpy(), heads, cos.numpy(), sin.numpy())
    torch.testing.assert_close(x.float(), expected, rtol=5e-3, atol=5e-3)
    assert torch.equal(x[:, heads:].float(), expected[:, heads:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_gate_and_join(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight, stream = torch.randn(5, 48), torch.randn(32, 48), torch.randn(5, 32)
    norm = Norm.unshifted(torch.randn(32), 1e-5)
    exact = x @ weight.T
    for maps in (FloatLinear.of(weight, None, dtype), Int8Linear.of(weight, None)):
        bent = torch.nn.functional.gelu(exact[:, :16]) * exact[:, 16:]
        assert (maps.gated(x).float() - bent).norm() < 0.03 * bent.norm()
        own = stream.clone()
        found = maps.joined(x, own, norm).float()
        assert (own - stream - exact).norm() < 0.03 * exact.norm()
        assert (found - norm(own)).norm() < 0.01 * norm(own).norm()
