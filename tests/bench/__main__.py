"""Benchmarks against named peers, in one process group, on as many threads each; then bounds, which
have no peer.

python -m tests.bench [FOLDER] [--rounds 5] [--documents 1000] [--queries 60] [--kin 60]
    [--pairs 1000000] [--rows 20000] [--passages 50000] [--sparse 200000] [--night 400000]
    [--only NAME ...]
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import torch
from rich.console import Console
from threadpoolctl import threadpool_limits
from transformers.utils import logging

from shardrank import __version__
from tests.bench import (
    attend,
    binary,
    build,
    codes,
    cutting,
    embed,
    exact_terms,
    flow,
    graphs,
    growth,
    ingest,
    inverted,
    inverted_build,
    ivf,
    kin,
    labels,
    late,
    late_search,
    masked,
    maxsim,
    memory,
    modern,
    quality,
    rerank,
    search,
    startup,
    static,
    unchanged,
)
from tests.bench.bounds import Bound, bounds_table
from tests.bench.chart import write_chart
from tests.bench.harness import AnswersDisagree, Benchmark, Outcome, measure
from tests.bench.machine import machine
from tests.bench.show import table, write_json, write_markdown

PEERS = ("torch", "transformers", "sentence-transformers", "faiss-cpu", "numpy", "pandas")
Build = Callable[[], Benchmark]
Bounds = Callable[[Path, int], Iterator[Bound]]
#: Of what is bounded; each takes minutes.
BOUND_ROUNDS = 3
BOUNDS: dict[str, Bounds] = {
    "quality": quality.bounds,
    "startup": startup.bounds,
    "growth": growth.bounds,
    "memory": memory.bounds,
}


def main() -> None:
    """Measure, print, and write bench.json and bench.png."""
    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        _measure(arguments, Path(folder))
    Console().print(", ".join(f"{arguments.folder}/bench.{kind}" for kind in ("json", "md", "png")))


def _measure(arguments: argparse.Namespace, folder: Path) -> None:
    """What is measured is written after each benchmark, so that a run cut off keeps what it has.
    What answers wrongly is named in the end, and spoils no other."""
    outcomes: list[Outcome] = []
    bounds: list[Bound] = []
    wrong: list[AnswersDisagree] = []

    about = _about(arguments.rounds)

    def write() -> None:
        path = arguments.folder / "bench.json"
        write_json(path, outcomes, bounds, about)
        write_markdown(path.with_suffix(".md"), json.loads(path.read_text("utf-8")))

    for make in _builds(arguments, folder):
        try:
            outcomes.append(_measured(make, arguments.rounds))
        except AnswersDisagree as error:
            wrong.append(error)
            continue
        write()
        write_chart(arguments.folder / "bench.png", outcomes)
    for name in arguments.only or BOUNDS:
        bounds += BOUNDS[name](folder, BOUND_ROUNDS) if name in BOUNDS else ()
        write()
    if bounds:
        Console().print(bounds_table(bounds))
    if wrong:
        raise SystemExit("\n".join(f"Not measured: {error}" for error in wrong))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/bench"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=1000, help="of the embed benchmark")
    parser.add_argument("--queries", type=int, default=60, help="of the rerank benchmark")
    parser.add_argument(
        "--kin", type=int, default=60, help="texts or pairs of each of BERT's kin, and of late"
    )
    parser.add_argument("--pairs", type=int, default=1_000_000, help="of the labels benchmark")
    parser.add_argument("--rows", type=int, default=20_000, help="of the ingest benchmark")
    parser.add_argument("--night", type=int, default=400_000, help="rows of unchanged nights")
    parser.add_argument("--passages", type=int, default=50_000, help="of the flow benchmark")
    parser.add_argument("--sparse", type=int, default=200_000, help="passages of bm25's")
    parser.add_argument("--graphs", type=int, default=50_000, help="vectors beside graphs")
    parser.add_argument("--only", action="append", help="of the benchmarks or bounds, by name")
    return parser.parse_args()


def _builds(arguments: argparse.Namespace, folder: Path) -> list[Build]:
    builds: dict[str, Build] = {
        "embed": lambda: embed.benchmark(arguments.documents),
        "rerank": lambda: rerank.benchmark(arguments.queries, folder),
        "late": lambda: late.benchmark(arguments.kin, folder),
        "modern": lambda: modern.short(folder, 200),
        "modern-long": lambda: modern.long(folder),
        "masked-modern": modern.masked,
        "attention-73": lambda: attend.benchmark(73, 32),
        "attention-220": lambda: attend.benchmark(220, 32),
        "attention-512": lambda: attend.benchmark(512, 64),
        "same-codes": ivf.same_codes,
        "any-layout": ivf.any_layout,
        "rabitq": codes.benchmark,
        "graphs": lambda: graphs.benchmark(arguments.graphs, whole=True),
        "graphs-search": lambda: graphs.benchmark(arguments.graphs, whole=False),
        "masked-search": masked.search,
        "masked-audit": masked.audit,
        "masked-embed": masked.embed,
        "masked-mpnet": masked.mpnet,
        "masked-deberta": masked.deberta,
        **{name: partial(kin.benchmark, name, arguments.kin, folder) for name in kin.KIN},
        "static": lambda: static.wordpiece(folder),
        **(_real_static(folder) if static.has_real_table() else {}),
        "exact": search.benchmark,
        "binary": lambda: binary.benchmark(384),
        "binary-1024": lambda: binary.benchmark(1024),
        "maxsim": lambda: maxsim.benchmark(1),
        "maxsim-2": lambda: maxsim.benchmark(2),
        "terms": lambda: exact_terms.benchmark(6, 60),
        "terms-long": lambda: exact_terms.benchmark(30, 120),
        "late-search": lambda: late_search.benchmark(1, folder),
        "late-search-2": lambda: late_search.benchmark(2, folder),
        "late-build": lambda: late_search.build_benchmark(folder),
        "bm25": lambda: inverted.benchmark(arguments.sparse, 6),
        "bm25-long": lambda: inverted.benchmark(arguments.sparse, 30),
        "bm25-build": lambda: inverted_build.benchmark(arguments.sparse, folder),
        "labels": lambda: labels.benchmark(arguments.pairs),
        "build": build.plain,
        "build-rotated": lambda: build.rotated(folder),
        "ingest": lambda: ingest.benchmark(arguments.rows, folder),
        "cutting": lambda: cutting.benchmark(cutting.docstrings()),
        "unchanged-parquet": lambda: unchanged.benchmark(arguments.night, "parquet", folder),
        "unchanged-jsonl": lambda: unchanged.benchmark(arguments.night, "jsonl", folder),
        "flow": lambda: flow.benchmark(arguments.passages, folder),
    }
    unknown = set(arguments.only or ()) - builds.keys() - BOUNDS.keys()
    if unknown:
        raise SystemExit(f"--only: {', '.join(sorted(unknown))} not in {[*builds, *BOUNDS]}")
    return [builds[name] for name in arguments.only or builds if name in builds]


def _real_static(folder: Path) -> dict[str, Build]:
    return {
        "static-llama": lambda: static.llama(folder),
        "static-tokens": lambda: static.tokens(folder),
    }


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
        **machine(),
        "rounds": rounds,
        "versions": {name: version(name) for name in PEERS},
    }


if __name__ == "__main__":
    main()
