"""Benchmarks against named peers, in one process, on as many threads each.

python -m tests.bench [FOLDER] [--rounds 5] [--documents 1000] [--queries 60] [--pairs 1000000]
    [--passages 50000] [--only NAME ...]
"""

import argparse
import os
import platform
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import torch
from rich.console import Console
from threadpoolctl import threadpool_limits
from transformers.utils import logging

from pipelines import __version__
from tests.bench import build, embed, flow, ingest, ivf, labels, rerank, search
from tests.bench.chart import write_chart
from tests.bench.harness import Benchmark, Outcome, measure
from tests.bench.show import table, write_json

PEERS = ("torch", "transformers", "sentence-transformers", "faiss-cpu", "numpy", "pandas")
Build = Callable[[], Benchmark]


def main() -> None:
    """Measure, print, and write bench.json and bench.png."""
    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(1)
    outcomes: list[Outcome] = []
    with TemporaryDirectory() as folder:
        for build in _builds(arguments, Path(folder)):
            outcomes.append(_measured(build, arguments.rounds))
            # After each, so that what is cut off keeps what it has.
            write_json(arguments.folder / "bench.json", outcomes, _about(arguments.rounds))
            write_chart(arguments.folder / "bench.png", outcomes)
    Console().print(f"{arguments.folder}/bench.json, {arguments.folder}/bench.png")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/bench"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=1000, help="of the embed benchmark")
    parser.add_argument("--queries", type=int, default=60, help="of the rerank benchmark")
    parser.add_argument("--pairs", type=int, default=1_000_000, help="of the labels benchmark")
    parser.add_argument("--rows", type=int, default=20_000, help="of the ingest benchmark")
    parser.add_argument("--passages", type=int, default=50_000, help="of the flow benchmark")
    parser.add_argument("--only", action="append", help="of the benchmarks, by name")
    return parser.parse_args()


def _builds(arguments: argparse.Namespace, folder: Path) -> list[Build]:
    builds: dict[str, Build] = {
        "embed": lambda: embed.benchmark(arguments.documents),
        "rerank": lambda: rerank.benchmark(arguments.queries, folder),
        "same-codes": ivf.same_codes,
        "any-layout": ivf.any_layout,
        "exact": search.benchmark,
        "labels": lambda: labels.benchmark(arguments.pairs),
        "build": build.benchmark,
        "ingest": lambda: ingest.benchmark(arguments.rows, folder),
        "flow": lambda: flow.benchmark(arguments.passages, folder),
    }
    return [builds[name] for name in arguments.only or builds]


def _measured(build: Build, rounds: int) -> Outcome:
    benchmark = build()
    faiss.omp_set_num_threads(benchmark.threads)
    with threadpool_limits(benchmark.threads):
        outcome = measure(benchmark, rounds)
    Console().print(table(outcome))
    return outcome


def _about(rounds: int) -> dict[str, Any]:
    return {
        "date": date.today().isoformat(),
        "shardrank": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "rounds": rounds,
        "versions": {name: version(name) for name in PEERS},
    }


if __name__ == "__main__":
    main()
