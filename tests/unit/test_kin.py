"""BERT's kin by our own forward pass: against transformers on padded rows, and plain formulas."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from shardrank.kernels.bias_loops import softmax_distances, softmax_lines
from shardrank.models.folder.deberta_config import Disentangled
from shardrank.models.folder.layout import read_layout
from shardrank.models.folder.packable import is_packable, is_packable_masked, sizes
from shardrank.models.forward import packed_deberta, packed_mpnet
from shardrank.models.forward.biased_attention import BiasedAttention, line_windows, windows
from shardrank.models.forward.packed import PackedBert
from shardrank.models.forward.packed_deberta import DistanceBias
from shardrank.models.forward.packed_mpnet import BucketBias
from shardrank.models.forward.padded import load_network
from shardrank.models.forward.state import read_state
from tests.family_models import save_encoder
from tests.reranker_models import V3
from tests.unit.test_packed import CPU, Lengths, batch

#: On both sides of the edges of buckets, and one token alone.
EDGES = [150, 129, 128, 127, 40, 17, 17, 16, 9, 8, 7, 5, 4, 3, 2, 1, 1]
MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "distilbert": ("distilbert", {}),
    "electra": ("electra", {}),
    "mpnet": ("mpnet", {}),
    "v3": ("deberta-v2", V3),
    "own maps": ("deberta-v2", {**V3, "share_att_key": False, "norm_rel_ebd": "none"}),
    "keys only": ("deberta-v2", {**V3, "pos_att_type": "c2p"}),
    "queries only": ("deberta-v2", {**V3, "pos_att_type": ["p2c"], "position_buckets": -1}),
    "few distances": ("deberta-v2", {**V3, "position_buckets": 6, "max_relative_positions": 12}),
    "clamped": ("deberta-v2", {**V3, "position_buckets": -1, "max_relative_positions": 5}),
    "positions, types": (
        "deberta-v2",
        {**V3, "position_biased_input": True, "type_vocab_size": 2},
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, more = MODELS[request.param]
    made = tmp_path_factory.mktemp("kin")
    return save_encoder(made, family, **{"max_position_embeddings": 160, **more})


def test_packed_equals_padded(folder: Path) -> None:
    layout, made = read_layout(folder), batch(EDGES)
    assert is_packable(layout.config)
    with torch.inference_mode():
        padded = load_network(folder, "fp32", False, CPU).hidden(made)
        packed = PackedBert(read_state(layout), layout.config, "fp32")
        torch.testing.assert_close(packed.hidden(made), padded, atol=3e-5, rtol=1e-4)
        firsts = padded[made.ends[:-1]]
        torch.testing.assert_close(packed.first(made), firsts, atol=3e-5, rtol=1e-4)
        for dtype, least in (("bf16", 0.998), ("int8", 0.98)):
            small = PackedBert(read_state(layout), layout.config, dtype)
            assert nearness(small.hidden(made), padded) > least
            assert nearness(small.first(made), firsts) > least


def nearness(found: Tensor, wanted: Tensor) -> float:
    """The least cosine of two rows."""
    return float(torch.cosine_similarity(found, wanted, dim=1).min())


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("distilbert", {"activation": "relu"}),
        ("distilbert", {"hidden_size": 32}),
        ("electra", {"embedding_size": 16}),
        ("mpnet", {"relative_attention_num_buckets": 16}),
        ("mpnet", {"pad_token_id": 0}),
        ("deberta-v2", {"conv_kernel_size": 3}),
        ("deberta-v2", {"relative_attention": False}),
        ("deberta-v2", {"pos_att_type": ["c2p", "p2p"]}),
        ("deberta-v2", {"pos_att_type": None}),
        ("deberta-v2", {"embedding_size": 16}),
        ("deberta-v2", {"attention_head_size": 16}),
        ("deberta-v2", {"pooler_hidden_act": "tanh"}),
        ("deberta-v2", {"norm_rel_ebd": "other"}),
        ("deberta-v2", {"hidden_act": "relu"}),
        ("modernbert", {}),
    ],
)
def test_what_is_not_understood_stays_padded(family: str, values: dict[str, Any]) -> None:
    plain = {"model_type": family}
    if family == "electra":
        plain |= {"embedding_size": 256}
    if family == "deberta-v2":
        plain |= V3
    assert is_packable(plain) == (family != "modernbert")
    assert not is_packable({**plain, **values})


def test_masked_language_models_of_some_stay_padded() -> None:
    assert is_packable_masked({"model_type": "distilbert"})
    assert not is_packable_masked({"model_type": "mpnet"})
    assert not is_packable_masked({"model_type": "deberta-v2", **V3})


def test_sizes_by_each_familys_own_names() -> None:
    found = sizes({"model_type": "distilbert", "dim": 64, "n_heads": 2, "layer_norm_eps": 1})
    assert (found.width, found.heads, found.layers, found.types) == (64, 2, 6, 0)
    assert found.epsilon == 1e-12
    found = sizes({"model_type": "deberta-v2", "position_biased_input": False})
    assert (found.width, found.positions, found.epsilon) == (1536, 0, 1e-7)


@pytest.mark.parametrize(("buckets", "longest"), [(256, 512), (8, 128), (6, 12), (32, 2048)])
def test_buckets_are_debertas(buckets: int, longest: int) -> None:
    own = Disentangled(frozenset({"c2p"}), True, False, buckets, buckets, longest)
    distances = torch.arange(-longest + 1, longest)
    expected = make_log_bucket_position(distances, buckets, longest).long()
    assert torch.equal(packed_deberta.bucket(distances, own), expected)


def test_buckets_are_mpnets() -> None:
    distances = torch.arange(-600, 600)
    expected = MPNetEncoder.relative_position_bucket(distances)
    assert torch.equal(packed_mpnet.bucket(distances), expected)


@given(st.integers(1, 9), st.integers(0, 3))
def test_windows_move_by_one(length: int, more: int) -> None:
    rows = torch.arange(2 * length * (2 * length - 1 + more)).view(2, length, -1)
    found = windows(rows, length)
    for i in range(length):
        assert torch.equal(found[:, i], rows[:, i, length - 1 - i : 2 * length - 1 - i])
    line = torch.arange(1 - length, length)[None]
    places = torch.arange(length)
    assert torch.equal(line_windows(line, length)[0], places - places[:, None])


def biases(heads: int, width: int) -> list[BucketBias | DistanceBias]:
    own = Disentangled(frozenset({"c2p", "p2c"}), True, False, 8, 8, 64)
    tables = torch.randn(2, heads, 16, width).mul(width**-0.5)
    return [
        BucketBias(torch.randn(32, heads), width**-0.5),
        DistanceBias(own, width**-0.5, *tables),
        DistanceBias(own, width**-0.5, tables[0], None),
        DistanceBias(own, width**-0.5, None, tables[1]),
    ]


@given(Lengths, st.integers(0, 10**6), st.booleans())
@settings(max_examples=15, deadline=None)
def test_each_way_to_attend_is_the_formula(lengths: list[int], seed: int, firsts: bool) -> None:
    """At once on padded rows, as a GPU has them, and in bf16."""
    made, (heads, width) = batch(lengths), (3, 4)
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, len(made.ids), heads, width).bfloat16().float().unbind()
    asked = q[made.ends[:-1]] if firsts else q
    for bias in biases(heads, width):
        attention = BiasedAttention(bias)
        expected = torch.cat(
            [formula(bias, *(x[b:e] for x in (q, k, v)), firsts) for b, e in bounds(lengths)]
        )
        torch.testing.assert_close(
            attention(asked, k, v, made), expected.flatten(1), atol=1e-5, rtol=1e-5
        )
        padded = attention._padded(asked, k, v, made)
        torch.testing.assert_close(padded, expected, atol=1e-5, rtol=1e-5)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("shardrank.models.forward.biased_attention.attends_in_bf16", lambda: True)
            short = attention(*(x.bfloat16() for x in (asked, k, v)), made)
        assert short.dtype == torch.bfloat16
        torch.testing.assert_close(short.float(), expected.flatten(1), atol=0.05, rtol=0.05)


def bounds(lengths: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(np.cumsum([0, *lengths]).tolist()))


def formula(
    bias: BucketBias | DistanceBias, q: Tensor, k: Tensor, v: Tensor, firsts: bool
) -> Tensor:
    """Attention of one input, with what is added looked up pair by pair."""
    places = torch.arange(len(k))
    apart = places[:, None] - places
    logits = torch.einsum("qhd,khd->hqk", q, k) * bias.scale + added(bias, q, k, apart)
    found = torch.einsum("hqk,khd->qhd", logits.softmax(-1), v)
    return found[:1] if firsts else found


def added(bias: BucketBias | DistanceBias, q: Tensor, k: Tensor, apart: Tensor) -> Tensor:
    """float32[heads, n, n], by how far each query [n, heads, d] is behind each key."""
    if isinstance(bias, BucketBias):
        return bias._table[packed_mpnet.bucket(-apart)].permute(2, 0, 1)
    places = packed_deberta.bucket(apart, bias.own).clamp(-8, 7) + 8
    found = torch.zeros(())
    if bias.keys is not None:
        found = found + torch.einsum("qhd,hqkd->hqk", q, bias.keys[:, places])
    if bias.queries is not None:
        found = found + torch.einsum("khd,hqkd->hqk", k, bias.queries[:, places])
    return found


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 32), min_size=1, max_size=4),
    st.sampled_from([0.01, 1.0, 50.0]),
)
@settings(max_examples=40, deadline=None)
def test_rows_become_their_softmax(seed: int, lengths: list[int], wide: float) -> None:
    torch.manual_seed(seed)
    shape = (2, len(lengths), 32)
    x = torch.randn(*shape, 32).mul(wide).bfloat16()
    up, down = torch.randn(2, *shape, 64).mul(wide).bfloat16().unbind()
    lines, counts = torch.randn(2, 70).mul(wide), np.array(lengths, np.int64)
    made = [x.clone().view(torch.uint16).numpy() for _ in range(2)]
    softmax_lines(made[0], counts, lines.numpy(), 0.25)
    pair = (part.view(torch.uint16).numpy() for part in (up, down))
    softmax_distances(made[1], counts, *pair, 0.25)
    window = lines[:, torch.arange(32) - torch.arange(32)[:, None] + 34]  # middle of 70
    both = windows(up, 32).double() + windows(down, 32).double().transpose(2, 3)
    for bits, bias in zip(made, (window[:, None].double(), both), strict=True):
        expected = x.double() * 0.25 + bias
        for number, size in enumerate(lengths):
            found = torch.from_numpy(bits).view(torch.bfloat16)[:, number, :size].double()
            wanted = expected[:, number, :size, :size]
            torch.testing.assert_close(found[..., :size], wanted.softmax(-1), rtol=5e-3, atol=1e-5)
            assert not found[..., size:].any()
