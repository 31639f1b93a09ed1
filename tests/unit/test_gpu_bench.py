"""The GPU benchmarks on a processor: tiny models, few rows, and what a bare machine lacks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
import torch

from shardrank.index.list_major import ListSearch
from shardrank.models.forward.select_rows import TorchSelector
from tests.bench import gpu, gpu_check, gpu_search
from tests.bench.gpu_check import Check
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
from tests.bench.gpu_setup import Setup

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


@pytest.mark.parametrize(("nprobe", "least"), [(1, 0.1), (16, 0.9)])
def test_made_lists_are_searched_by_the_product(nprobe: int, least: float) -> None:
    field = gpu_search.make_field(Setup(CPU, small=True))
    search = ListSearch(field.lists, TorchSelector("cpu"))
    found = search.search(field.made.queries[:50], nprobe, gpu_search.K, None)
    assert np.array_equal(np.sort(field.lists.places), np.arange(2_000))
    assert least < field.recall(found) <= 1


def test_answers_that_are_wrong_are_told() -> None:
    wrong = Check("planted", lambda: 2.0, 1.0), Check("broken", lambda: 1 / 0, 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_check, "checks", lambda folder, setup: wrong)
        found = list(gpu_check.checked(Setup(CPU, small=True)))
    assert [each.good for each in found] == [False, False]
    assert found[1].reason.startswith("ZeroDivisionError")


def test_what_runs_is_broken_off_when_the_minutes_are_over() -> None:
    with pytest.raises(gpu.TimeIsUp), gpu._until(monotonic() + 0.05):
        sleep(60)


def test_nothing_is_begun_that_the_minutes_have_no_room_for(tmp_path: Path) -> None:
    arguments = [str(tmp_path), "--small", "--minutes", "0", "--only", "tiny 16"]
    assert gpu.main(arguments) == 0
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert not written["benchmarks"]
    assert set(_skipped(written).values()) == {"no time was left for it"}


def test_everything_runs_small_and_says_that_it_is_no_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path), "--small", "--rounds", "1"]
    assert gpu.main([*arguments, "--only", "natural", "--only", "1M"]) == 0
    written = json.loads((tmp_path / "gpu.json").read_text())
    names = [benchmark["name"] for benchmark in written["benchmarks"]]
    assert names == [
        "encode tiny natural",
        "search, recall 0.95",
        "exact search",
        "encode tiny ModernBERT natural",
        "encode tiny Qwen3 natural",
        "pairs tiny natural",
    ]
    assert "no measurement of a GPU" in written["note"]
    assert "no measurement of a GPU" in capsys.readouterr().out
    assert all(check["good"] for check in written["checks"])
    assert len(written["checks"]) == 12
    assert all(model["of_peak"] > 0 for b in written["benchmarks"] for model in b["models"])
    assert (tmp_path / "gpu.png").exists() == bool(find_spec("matplotlib"))  # for benches only


def test_without_a_gpu_nothing_is_measured(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert gpu.main([str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_a_bare_machine_skips_with_reasons(tmp_path: Path) -> None:
    code = (
        f"import runpy, sys\nsys.modules.update(dict.fromkeys({(*ABSENT, 'matplotlib')!r}))\n"
        f"sys.argv = ['gpu.py', {str(tmp_path)!r}, '--small', '--rounds', '1', "
        "'--only', 'encode tiny 16', '--only', '1M']\n"
        "runpy.run_path('tests/bench/gpu.py', run_name='__main__')"
    )
    slim = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", code]
    subprocess.run(run, cwd=ROOT, env=slim, check=True, stdout=subprocess.DEVNULL)
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert [benchmark["name"] for benchmark in written["benchmarks"]] == [
        "encode tiny 16",
        "search, recall 0.95",
        "exact search",
    ]
    left_out = {"gpu.png", "sentence-transformers by 32"}
    assert left_out <= _skipped(written).keys()


def _work(task: str) -> Work:
    """With wide weights, so that different texts get clearly different answers."""
    model = make_model(TINY[0], CPU)
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return Work(task, TINY[0], make_texts("natural", 2_000, task == PAIRS), model)


def _skipped(written: dict[str, Any]) -> dict[str, str]:
    return {skip["what"]: skip["reason"] for skip in written["skipped"]}
