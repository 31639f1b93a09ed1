"""Encoders, cross-encoders and batch search on one GPU, against named peers.

python tests/bench/gpu.py OUT [--rounds 5] [--seconds 0.3] [--only NAME ...]
    [--batch-tokens 65536] [--compile] [--small]

It needs torch, transformers and numpy; whatever else is missing is skipped, with a reason. OUT
gets gpu.json, written anew after each benchmark, so that an hour that ends early is not lost, and
gpu.png. With --small it runs anywhere on tiny models, and measures nothing.
"""

import argparse
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Run as a file, Python looks for modules beside it, and not in the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))
import tests.bench.bare  # noqa: F401  # isort: skip

import torch
from transformers.utils import logging

from shardrank import __version__
from tests.bench import gpu_ivf, gpu_work
from tests.bench.gpu_models import ENCODE, PAIRS, SIZES, TINY
from tests.bench.gpu_setup import Setup, clock, matmul_peak
from tests.bench.gpu_work import Build, Measured, Share
from tests.bench.harness import AnswersDisagree, Benchmark, Outcome, measure

LENGTHS, SMALL_LENGTHS = ("128", "256", "512", "natural"), ("16", "natural")
PACKAGES = ("torch", "transformers", "sentence-transformers", "flash-attn", "faiss-gpu", "numpy")
NO_GPU = "This is no measurement of a GPU: tiny models run, to try the code, on: "
FAILED = "failed:"
#: What is wanted of one H200.
GOALS = {
    "tokens a second, 110M": 2.6e6,
    "share of the matmul peak, 110M": 0.6,
    "times the tuned peer": 1.7,
    "times GpuIndexIVFPQ at equal recall": 10,
}


@dataclass(frozen=True)
class Run:
    """What has been measured so far, and where it goes."""

    setup: Setup
    rounds: int
    peak: float
    folder: Path
    measured: list[Measured]

    def add(self, name: str, build: Build) -> None:
        """Measure and write; a benchmark with wrong answers or too little memory is named only."""
        try:
            found = build()
        except (AnswersDisagree, torch.OutOfMemoryError) as error:
            self.setup.skip(name, f"{FAILED} {error}")
        else:
            if found:
                print(table(found), flush=True)
                self.measured.append(found)
        self.write()

    def write(self) -> None:
        """gpu.json as far as it goes."""
        value = {
            **_about(self.setup, self.rounds),
            "matmul_peak": self.peak,
            "skipped": [asdict(skip) for skip in self.setup.skips],
            "benchmarks": [_as_json(found) for found in self.measured],
        }
        (self.folder / "gpu.json").write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write; 1 where a benchmark failed, 2 where there is no GPU."""
    asked = _arguments(arguments)
    if not (asked.small or torch.cuda.is_available()):
        print("There is no GPU here. --small tries the code on a processor.")
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    run = _start(asked)
    for name, build in _plan(run):
        if not asked.only or any(part in name for part in asked.only):
            run.add(name, build)
    _chart(run)
    return int(any(skip.reason.startswith(FAILED) for skip in run.setup.skips))


def table(found: Measured) -> str:
    """A row for each contender, then one for each duel."""
    outcome, shares = found.outcome, {share.name: share for share in found.shares}
    head = ("", f"{outcome.unit}/s", "tokens/s", "of peak", "seconds", "distance")
    rows = [
        (s.name, f"{s.per_second:,.1f}", *_share(shares.get(s.name)), f"{s.median_seconds:.4f}",
         f"{s.distance:.1e}")
        for s in outcome.speeds
    ]  # fmt: skip
    lines = [f"\n{outcome.name}: {outcome.items:,} {outcome.unit}", *map(_line, [head, *rows])]
    lines += [
        f"{r.duel.ours} : {r.duel.peer} = {r.median:.2f} ({r.least:.2f}-{r.most:.2f}), "
        f"floor {r.duel.floor:g}, goal {r.duel.goal:g}"
        for r in outcome.ratios
    ]
    if found.queued is not None:
        lines.append(f"the processor gave work in {found.queued:.2f} of shardrank's time")
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:<42}" + "".join(f"{cell:>14}" for cell in cells[1:])


def _share(share: Share | None) -> tuple[str, str]:
    if share is None:
        return "", ""
    return f"{share.tokens_per_second:,.0f}", f"{share.of_peak:.3f}"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one run of ours, about")
    parser.add_argument("--only", action="append", help='by parts of names, such as "encode 110M"')
    parser.add_argument("--batch-tokens", type=int, default=65_536, help="in one of our batches")
    parser.add_argument("--compile", action="store_true", help="ours under torch.compile too")
    parser.add_argument("--small", action="store_true", help="tiny models, on a processor too")
    return parser.parse_args(arguments)


def _start(asked: argparse.Namespace) -> Run:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    setup = Setup(device, asked.small, asked.seconds, asked.batch_tokens, asked.compile)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    peak = matmul_peak(setup)
    print(_headline(setup, peak))
    return Run(setup, asked.rounds, peak, asked.out, [])


def _headline(setup: Setup, peak: float) -> str:
    if setup.small:
        return f"{NO_GPU}{setup.device}"
    return f"{torch.cuda.get_device_name()}: products of bf16 matrices at {peak / 1e12:.0f} TFLOP/s"


def _plan(run: Run) -> Iterator[tuple[str, Build]]:
    """Every benchmark by its name. A size's model is made once, since sizes come outermost."""
    setup = run.setup
    for size in TINY if setup.small else SIZES:
        for task in (ENCODE, PAIRS):
            for lengths in SMALL_LENGTHS if setup.small else LENGTHS:
                build = partial(
                    gpu_work.measure_work, task, size, lengths, setup, run.rounds, run.peak
                )
                yield f"{task} {size.name} {lengths}", build
    field = cache(lambda: gpu_ivf.make_field(setup))
    yield (
        "search brute force",
        lambda: _searched(gpu_ivf.against_brute_force(field(), setup), run),
    )
    yield "search faiss", lambda: _searched(gpu_ivf.against_faiss(field(), setup), run)


def _searched(benchmark: Benchmark | None, run: Run) -> Measured | None:
    if benchmark is None:
        return None
    return Measured(measure(benchmark, run.rounds, clock(run.setup.device)), (), None)


def _chart(run: Run) -> None:
    outcomes: list[Outcome] = [found.outcome for found in run.measured]
    if not outcomes:
        return
    try:
        from tests.bench.chart import write_chart
    except ImportError as error:
        run.setup.skip("gpu.png", str(error))
        run.write()
        return
    write_chart(run.folder / "gpu.png", outcomes)


def _about(setup: Setup, rounds: int) -> dict[str, Any]:
    return {
        "date": date.today().isoformat(),
        "gpu": torch.cuda.get_device_name() if setup.cuda else None,
        "small": setup.small,
        **({"note": f"{NO_GPU}{setup.device}"} if setup.small else {}),
        "goals": GOALS,
        "shardrank": __version__,
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "versions": {name: _version(name) for name in PACKAGES},
        "rounds": rounds,
        "batch_tokens": setup.batch_tokens,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _as_json(found: Measured) -> dict[str, Any]:
    shares = [asdict(share) for share in found.shares]
    return {**asdict(found.outcome), "models": shares, "queued": found.queued}


if __name__ == "__main__":
    sys.exit(main())
