"""The packed forward pass against plain loops over padded rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shardrank.core.arrays import Int32
from shardrank.models.folder.layout import read_layout
from shardrank.models.forward.attention import attend
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.batches import ModelInputs, Runner
from shardrank.models.forward.packed import PackedBert
from shardrank.models.forward.padded import load_network
from shardrank.models.forward.state import read_state
from tests.tiny_models import tiny_encoder

CPU = torch.device("cpu")
Lengths = st.lists(st.integers(1, 20), min_size=1, max_size=12).map(lambda x: sorted(x)[::-1])


def batch(lengths: list[int], seed: int = 0) -> Batch:
    sizes = np.array(lengths, np.int64)
    ids = torch.from_numpy(np.random.default_rng(seed).integers(5, 60, int(sizes.sum())))
    return Batch(np.arange(len(sizes)), sizes, ids, None)


def attended(q: Tensor, k: Tensor, v: Tensor, made: Batch, firsts: bool) -> Tensor:
    """softmax(q·kᵀ/√d)·v, input by input."""
    rows = []
    for begin, end in zip(made.ends[:-1].tolist(), made.ends[1:].tolist(), strict=True):
        asked = q[begin : begin + 1] if firsts else q[begin:end]
        weights = torch.einsum("qhd,khd->hqk", asked, k[begin:end]) / q.shape[2] ** 0.5
        rows.append(torch.einsum("hqk,khd->qhd", weights.softmax(-1), v[begin:end]))
    return torch.cat(rows)


@given(Lengths, st.integers(0, 10**6), st.booleans())
@settings(max_examples=80, deadline=None)
def test_attention_is_the_formula_within_each_input(
    lengths: list[int], seed: int, firsts: bool
) -> None:
    made, (heads, width) = batch(lengths), (3, 4)
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, len(made.ids), heads, width).unbind()
    found = attend(q[made.ends[:-1]] if firsts else q, k, v, made).view(-1, heads, width)
    torch.testing.assert_close(found, attended(q, k, v, made, firsts), atol=1e-5, rtol=1e-5)


@given(Lengths)
def test_where_inputs_begin_and_end(lengths: list[int]) -> None:
    made = batch(lengths)
    assert made.ends.tolist() == np.cumsum([0, *lengths]).tolist()
    assert made.places.tolist() == [place for size in lengths for place in range(size)]
    assert [size for count, size in made.groups for _ in range(count)] == lengths
    assert made.longest == max(lengths)


@pytest.fixture(scope="module", params=["bert", "roberta-cls"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"), request.param)


@given(lengths=Lengths, seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_packed_equals_padded(folder: Path, lengths: list[int], seed: int) -> None:
    layout = read_layout(folder)
    packed = PackedBert(read_state(layout), layout.config, "fp32")
    with torch.inference_mode():
        padded, made = network(folder), batch(lengths, seed)
        torch.testing.assert_close(packed.hidden(made), padded.hidden(made), atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(packed.first(made), padded.first(made), atol=2e-5, rtol=1e-4)


_NETWORKS: dict[Path, Any] = {}


def network(folder: Path) -> Any:
    """Loading with transformers takes longer than all comparisons."""
    if folder not in _NETWORKS:
        _NETWORKS[folder] = load_network(folder, "fp32", False, CPU)
    return _NETWORKS[folder]


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 100))
@settings(max_examples=80, deadline=None)
def test_every_input_comes_back_in_its_place(lengths: list[int], budget: int) -> None:
    """A model that adds up its tokens; an input without tokens has the padding's."""
    ids = [np.arange(1, size + 1, dtype=np.int32) * (row + 1) for row, size in enumerate(lengths)]

    def row(i: int) -> Int32:
        return ids[i]

    def step(made: Batch) -> torch.Tensor:
        sums = torch.segment_reduce(made.ids.float(), "sum", lengths=made.lengths)
        return torch.stack([sums, torch.from_numpy(made.rows).float()], dim=1)

    found = Runner(budget, 7, CPU).run(ModelInputs(np.array(lengths, np.int32), row), step, 2)
    assert found[:, 0].tolist() == [float(x.sum()) if len(x) else 7.0 for x in ids]
    assert found[:, 1].tolist() == list(range(len(ids)))
