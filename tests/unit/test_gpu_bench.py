"""The GPU benchmarks on a processor: tiny models, few rows, and what a bare machine lacks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shardrank.core.arrays import Float32, Int64
from tests.bench import gpu, gpu_ivf
from tests.bench.gpu_models import (
    ENCODE,
    PAIRS,
    TINY,
    Run,
    Size,
    Work,
    flops,
    make_model,
    make_texts,
    over,
    packed_step,
)
from tests.bench.gpu_peers import default_peer, reference, tuned_peer
from tests.bench.gpu_search import brute_force, build, products, search, small
from tests.bench.gpu_setup import Setup
from tests.bench.vectors import unit

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
#: Installed by no rule on a machine that is rented for its GPU.
ABSENT = ("ray", "faiss", "numba", "sentence_transformers", "rich", "pydantic", "pyarrow", "typer")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other's tiny products cost more than these on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_flops_by_hand() -> None:
    size = Size("hand", layers=2, width=4, heads=2, inner=8)
    maps = 4 * 16 + 2 * 32  # query, key, value and out; up and down
    lengths = np.array([3, 1], np.int32)
    attention = 2 * 4 * (9 + 1) * 2  # q·kᵀ, then the values: 2 · width · n² each
    whole = 2 * maps * 4 + attention
    assert flops(size, lengths) == 2 * whole
    last = 2 * 32 * 4 + 2 * 96 * 2 + 2 * 4 * (3 + 1) * 2  # keys and values of all, the rest of 2
    assert flops(size, lengths, first_only=True) == whole + last


@pytest.mark.parametrize("lengths", ["16", "natural"])
def test_texts_have_the_lengths_asked_for(lengths: str) -> None:
    texts = make_texts(lengths, 4_000, typed=True)
    assert 2_000 < texts.tokens <= 4_000
    assert (len(np.unique(texts.lengths)) == 1) == (lengths == "16")
    assert texts.types is not None
    assert [len(row) for row in texts.types] == texts.lengths.tolist()


@pytest.mark.parametrize("task", [ENCODE, PAIRS])
def test_ours_and_every_peer_answer_alike(task: str) -> None:
    setup = Setup(CPU, small=True, batch_tokens=512)
    work = _work(task)
    wanted = reference(work, np.arange(len(work.texts.rows)))
    ours = over(work.texts, packed_step(work), work.columns, setup)
    peers = default_peer(work, setup), tuned_peer(work, setup)
    runs: list[Run] = [ours, *(peer.over(work.texts) for peer in peers)]
    for run in runs:
        np.testing.assert_allclose(run(), wanted, atol=0.02)
    assert np.ptp(wanted, axis=0).max() > 0.1  # else any answer would do


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
def test_search_finds_the_exact_nearest_where_all_lists_are_probed(dtype: torch.dtype) -> None:
    stored, queries = _vectors(500), _vectors(40)
    lists = build(stored, 8, dtype, CPU)
    assert lists.sizes.sum() == 500
    rounded = small(torch.from_numpy(stored), dtype, torch.from_numpy(stored).abs().max())
    found = search(lists, queries, nprobe=8, depth=20)
    asked = torch.from_numpy(queries)
    few = small(asked, dtype, asked.abs().amax(1, keepdim=True))
    scores = few.double() @ rounded.double().T
    np.testing.assert_allclose(_scored(scores, found), scores.topk(20).values, rtol=1e-5)
    assert all(len(set(row)) == 20 for row in found.tolist())


def test_search_probes_the_nearest_lists_only_and_pads() -> None:
    stored, queries = _vectors(300), _vectors(10)
    lists = build(stored, 8, torch.bfloat16, CPU)
    found = search(lists, queries, nprobe=1, depth=200)
    assert (found >= 0).sum(1).max() <= lists.sizes[0]
    assert set(np.unique((found >= 0).sum(1))) <= set(lists.sizes.tolist())


def test_chunks_of_any_size_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stored, queries = _vectors(400), _vectors(30)
    lists = build(stored, 16, torch.int8, CPU)
    whole = search(lists, queries, nprobe=6, depth=10)
    monkeypatch.setattr("tests.bench.gpu_search.CELLS", 1)
    monkeypatch.setattr("tests.bench.gpu_search.HEIGHT", 7)
    again = search(lists, queries, nprobe=6, depth=10)
    assert [set(row) for row in whole.tolist()] == [set(row) for row in again.tolist()]


def test_brute_force_is_exact_in_float32() -> None:
    stored, queries = _vectors(200), _vectors(9)
    found = brute_force(torch.from_numpy(stored), queries, 5)
    np.testing.assert_array_equal(found, np.argsort(-(queries @ stored.T), axis=1)[:, :5])


def test_8_bit_products_are_exact() -> None:
    numbers = np.random.default_rng(1).integers(-127, 128, (2, 24, 384)).astype(np.int8)
    left, right = (torch.from_numpy(part) for part in numbers)
    found = products(left, right, torch.empty(24, 24, dtype=torch.int32))
    wide = numbers.astype(np.int64)
    np.testing.assert_array_equal(found, wide[0] @ wide[1].T)


def test_the_fewest_lists_that_reach_a_recall_are_probed() -> None:
    field = gpu_ivf.make_field(Setup(CPU, small=True))
    lists = field.lists["shardrank bf16"]
    nprobe = gpu_ivf.least_nprobe(field, lists, 0.9)
    recall = [field.recall(search(lists, field.judged, n, 100)) for n in (nprobe - 1, nprobe)]
    assert recall[0] < 0.9 <= recall[1]


def test_everything_runs_small_and_says_that_it_is_no_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path), "--small", "--rounds", "1"]
    assert gpu.main([*arguments, "--only", "natural", "--only", "search"]) == 0
    written = json.loads((tmp_path / "gpu.json").read_text())
    names = [benchmark["name"] for benchmark in written["benchmarks"]]
    assert names == ["encode tiny natural", "pairs tiny natural", "search, recall 0.95"]
    assert "no measurement of a GPU" in written["note"]
    assert "no measurement of a GPU" in capsys.readouterr().out
    assert _skipped(written)["faiss GpuIndexIVFPQ"] == "RuntimeError: this faiss has no GPU"
    assert all(model["of_peak"] > 0 for b in written["benchmarks"] for model in b["models"])
    assert (tmp_path / "gpu.png").stat().st_size > 0


def test_without_a_gpu_nothing_is_measured(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert gpu.main([str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_a_bare_machine_skips_with_reasons(tmp_path: Path) -> None:
    code = (
        f"import runpy, sys\nsys.modules.update(dict.fromkeys({(*ABSENT, 'matplotlib')!r}))\n"
        f"sys.argv = ['gpu.py', {str(tmp_path)!r}, '--small', '--rounds', '1', "
        "'--only', 'encode tiny 16', '--only', 'search faiss']\n"
        "runpy.run_path('tests/bench/gpu.py', run_name='__main__')"
    )
    slim = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", code]
    subprocess.run(run, cwd=ROOT, env=slim, check=True, stdout=subprocess.DEVNULL)
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert [benchmark["name"] for benchmark in written["benchmarks"]] == ["encode tiny 16"]
    left_out = {"gpu.png", "sentence-transformers by 32", "faiss GpuIndexIVFPQ"}
    assert left_out <= _skipped(written).keys()


def _work(task: str) -> Work:
    """With wide weights, so that different texts get clearly different answers."""
    model = make_model(TINY[0], CPU)
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return Work(task, TINY[0], make_texts("natural", 2_000, task == PAIRS), model)


def _vectors(count: int) -> Float32:
    return unit(np.random.default_rng(count).standard_normal((count, 32), dtype=np.float32))


def _scored(scores: torch.Tensor, found: Int64) -> torch.Tensor:
    return scores.gather(1, torch.from_numpy(found))


def _skipped(written: dict[str, Any]) -> dict[str, str]:
    return {skip["what"]: skip["reason"] for skip in written["skipped"]}
