"""Encoders, cross-encoders and batch search on one GPU, against named peers.

python tests/bench/gpu.py OUT [--minutes 6] [--rounds 3] [--seconds 0.3] [--only NAME ...]
    [--batch-tokens 65536] [--compile] [--small]

It needs torch, transformers, numpy and safetensors; whatever else is missing is skipped, with a
reason. First it checks answers: of encoders of each family, attention, pairs, a language model's
logits, and search. Then it measures, the most telling first, as long as there are minutes left. OUT
gets gpu.json, written anew after each benchmark, so that an hour that ends early is not lost, and
gpu.png; the JSON is printed, too. With --small it runs anywhere on tiny models, and measures
nothing.
"""

import argparse
import json
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

# Run as a file, Python looks for modules beside it, and not in the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))
import tests.bench.bare  # noqa: F401  # isort: skip

import torch
from transformers.utils import logging

from shardrank import __version__
from tests.bench import gpu_families, gpu_search, gpu_work
from tests.bench.gpu_check import Checked, checked
from tests.bench.gpu_models import ENCODE, PAIRS, SIZES, TINY, Size
from tests.bench.gpu_setup import Setup, clock, matmul_peak
from tests.bench.gpu_work import Build, Measured, Share
from tests.bench.harness import AnswersDisagree, Benchmark, Outcome, measure

LENGTHS, SMALL_LENGTHS = ("128", "natural", "512"), ("16", "natural")
PACKAGES = ("torch", "transformers", "sentence-transformers", "flash-attn", "numpy", "safetensors")
NO_GPU = "This is no measurement of a GPU: tiny models run, to try the code, on: "
FAILED = "failed:"
#: What is wanted of one H200.
GOALS = {
    "tokens a second, 110M": 2.6e6,
    "share of the matmul peak, 110M": 0.6,
    "times the tuned peer": 1.7,
}


class TimeIsUp(BaseException):
    """The minutes are over. No Exception: a peer that fails is passed over, and this is not."""


@contextmanager
def _until(end: float) -> Iterator[None]:
    """Raises TimeIsUp inside when the clock shows `end`."""
    if (left := end - monotonic()) <= 0:
        raise TimeIsUp

    def over(*_: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, left)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Run:
    """What has been measured so far, and where it goes."""

    setup: Setup
    rounds: int
    peak: float
    folder: Path
    ends: float
    measured: list[Measured]
    checks: list[Checked]

    def add(self, name: str, build: Build) -> None:
        """Measure and write; a benchmark with wrong answers or too little memory is named only, and
        so is one that the minutes have no room for."""
        try:
            with _until(self.ends):
                found = build()
        except TimeIsUp:
            self.setup.skip(name, "no time was left for it")
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
            "checks": [asdict(check) for check in self.checks],
            "skipped": [asdict(skip) for skip in self.setup.skips],
            "benchmarks": [_as_json(found) for found in self.measured],
        }
        (self.folder / "gpu.json").write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, measure, print, and write; 1 where an answer was wrong or a benchmark failed, 2 where
    there is no GPU."""
    asked = _arguments(arguments)
    if not (asked.small or torch.cuda.is_available()):
        print("There is no GPU here. --small tries the code on a processor.")
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    run = _start(asked)
    for check in checked(run.setup):
        print(_told(check), flush=True)
        run.checks.append(check)
    with TemporaryDirectory() as models:
        for name, build in _plan(run, Path(models)):
            if not asked.only or any(part in name for part in asked.only):
                run.add(name, build)
    _chart(run)
    run.write()
    print((run.folder / "gpu.json").read_text("utf-8"), flush=True)
    return int(
        not all(check.good for check in run.checks)
        or any(skip.reason.startswith(FAILED) for skip in run.setup.skips)
    )


def _told(check: Checked) -> str:
    found = (
        check.reason if check.distance is None else f"{check.distance:.2g}, at most {check.most:g}"
    )
    return f"{'right' if check.good else 'WRONG'}: {check.name}: {found}"


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
    parser.add_argument(
        "--minutes", type=float, default=6, help="after which what runs is broken off"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one run of ours, about")
    parser.add_argument("--only", action="append", help='by parts of names, such as "encode 110M"')
    parser.add_argument("--batch-tokens", type=int, default=65_536, help="in one of our batches")
    parser.add_argument("--compile", action="store_true", help="ours under torch.compile too")
    parser.add_argument("--small", action="store_true", help="tiny models, on a processor too")
    return parser.parse_args(arguments)


def _start(asked: argparse.Namespace) -> Run:
    ends = monotonic() + 60 * asked.minutes
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    setup = Setup(device, asked.small, asked.seconds, asked.batch_tokens, asked.compile)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    peak = matmul_peak(setup)
    print(_headline(setup, peak))
    return Run(setup, asked.rounds, peak, asked.out, ends, [], [])


def _headline(setup: Setup, peak: float) -> str:
    if setup.small:
        return f"{NO_GPU}{setup.device}"
    return f"{torch.cuda.get_device_name()}: products of bf16 matrices at {peak / 1e12:.0f} TFLOP/s"


def _plan(run: Run, models: Path) -> Iterator[tuple[str, Build]]:
    """Every benchmark by its name, in the order of what one would know first.

    A size's model is made once, and so is a family's, since they come outermost.
    """
    sizes = TINY if run.setup.small else SIZES
    yield from _works(run, ENCODE, sizes[:2])
    field = cache(lambda: gpu_search.make_field(run.setup))
    for name, make in (("search", gpu_search.list_major), ("exact", gpu_search.exact)):
        yield f"{name} 1M", partial(_searched, run, field, make)
    yield from _families(run, models)
    yield from _works(run, PAIRS, sizes[:2])
    yield from _works(run, ENCODE, sizes[2:])
    yield from _works(run, PAIRS, sizes[2:])


def _works(run: Run, task: str, sizes: Sequence[Size]) -> Iterator[tuple[str, Build]]:
    for size in sizes:
        for lengths in SMALL_LENGTHS if run.setup.small else LENGTHS:
            given = task, size, lengths, run.setup, run.rounds, run.peak
            yield f"{task} {size.name} {lengths}", partial(gpu_work.measure_work, *given)


def _families(run: Run, models: Path) -> Iterator[tuple[str, Build]]:
    for family in gpu_families.TINY if run.setup.small else gpu_families.FULL:
        for lengths in SMALL_LENGTHS if run.setup.small else LENGTHS:
            build = partial(_encoded, run, family, lengths, models / family.name)
            yield f"encode {family.name} {lengths}", build


def _encoded(run: Run, family: gpu_families.Family, lengths: str, folder: Path) -> Measured:
    if not folder.exists():
        gpu_families.write_model(family, folder)
    benchmark, texts = gpu_families.measured(family, lengths, folder, run.setup)
    outcome, work = _measured(benchmark, run), gpu_families.flops(folder, texts)
    shares = [
        Share(s.name, texts.tokens / s.median_seconds, work / s.median_seconds / run.peak)
        for s in outcome.speeds
    ]
    return Measured(outcome, shares, None)


def _searched(
    run: Run,
    field: Callable[[], gpu_search.Field],
    make: Callable[[gpu_search.Field, Setup], Benchmark],
) -> Measured:
    return Measured(_measured(make(field(), run.setup), run), (), None)


def _measured(benchmark: Benchmark, run: Run) -> Outcome:
    return measure(benchmark, run.rounds, clock(run.setup.device))


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
