"""BM25's index from texts: words cut and counted, a column of each part written, a shard built of
its postings, and the words of all passages counted, as the stages of the index flow do it; against
bm25s, from texts to a saved index. One process, one thread.

    python -m tests.bench.inverted_build [--passages 200000] [--rounds 5]

measures this and both searches of `inverted.py` in seconds of the processor, where a machine that
is shared with other work says little in seconds of the clock.
"""

import argparse
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from threadpoolctl import threadpool_limits

from shardrank.core.files import FileRef
from shardrank.core.model_settings import Bm25Settings
from shardrank.core.settings import Settings
from shardrank.core.units import Unit
from shardrank.models.encoders.bm25 import read_bm25_card
from shardrank.models.encoders.word_counter import WordCounter
from shardrank.stages.index.inverted_index import (
    BUILD,
    COUNT,
    TOTAL,
    BuildPostings,
    Count,
    PostingsSpec,
    Total,
    TotalSpec,
)
from shardrank.stages.run.workspace import Workspace, open_workspace
from shardrank.stages.shared.part_blocks import PartColumn
from shardrank.stages.shared.part_files import write_column
from tests.bench import inverted
from tests.bench.flow import short_texts
from tests.bench.harness import Benchmark, Contender, Duel, measure
from tests.bench.show import table

WORDS, PART = 60, 16_384
#: bm25s counts the empty word, too.
TOLERANCE = 1e-3
OURS, PEERS = "shardrank", ("bm25s", "bm25s scipy", "bm25s numba")


@dataclass(frozen=True)
class Size:
    """What is in an index."""

    words: int
    postings: int


def benchmark(passages: int, folder: Path) -> Benchmark:
    """So many runs of 60 words of docstrings, each with a number that no other has."""
    texts = short_texts(passages, WORDS)
    contenders, duels = [Contender(OURS, partial(ours, texts, folder / "ours"), TOLERANCE)], []
    if find_spec("bm25s"):
        runs = [partial(peer, name, texts, folder / "bm25s") for name in PEERS]
        contenders += [Contender(*pair, TOLERANCE) for pair in zip(PEERS, runs, strict=True)]
        duels += [Duel(OURS, name, floor=2, goal=4) for name in PEERS]
    else:
        print("bm25s is not measured: it is absent, and `make bench` installs it.")
    name = f"BM25 build, {passages:,} passages"
    return Benchmark(name, "passages", passages, contenders, duels, furthest)


def furthest(wanted: Size, found: Size) -> float:
    """The larger relative difference of words and postings."""
    words, postings = found.words / wanted.words, found.postings / wanted.postings
    return max(abs(words - 1), abs(postings - 1))


def ours(texts: Sequence[str], folder: Path) -> Size:
    """Column, shard and counts, from nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    workspace = open_workspace(str(folder), Settings())
    parts = tuple(columns(texts, workspace))
    spec = PostingsSpec(parts)
    BuildPostings(workspace)(Unit(BUILD.of("bm25").name, spec), {})
    counted = Count(workspace)(Unit(COUNT.of("bm25").name, spec), {}).made
    total = TotalSpec((counted,))
    made = Total(workspace)(Unit(TOTAL.of("bm25").name, total), {}).made
    held = workspace.read_table(made.terms)["passages"].to_numpy()
    return Size(len(held), int(held.sum()))


def columns(texts: Sequence[str], workspace: Workspace) -> Iterator[PartColumn]:
    """A file of each part's counted words."""
    counter = WordCounter(read_bm25_card(Bm25Settings()))
    for number, at in enumerate(range(0, len(texts), PART)):
        some = texts[at : at + PART]
        beside = FileRef(f"parts/{number}/passages.parquet", 0, "", len(some))
        live = np.ones(len(some), np.bool_)
        values = counter.column(pa.array(some, pa.string()))
        stored = write_column(workspace, beside, "bm25", values, live)
        yield PartColumn(number, str(number), beside, stored.file, None)


def peer(name: str, texts: Sequence[str], folder: Path) -> Size:
    """As its documentation does it, with one of the ways to lay scores out by words."""
    import bm25s

    model: Any = bm25s.BM25(csc_backend="scipy" if "scipy" in name else "numpy")
    if "numba" in name:
        model._np_csc = _numba_layout()
    model.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
    model.save(folder)
    return Size(len(model.vocab_dict), len(model.scores["data"]))


@cache
def _numba_layout() -> Any:
    """What `activate_numba_csc` puts into a model, compiled once for all of them."""
    import bm25s

    model: Any = bm25s.BM25()
    model.activate_numba_csc()
    return model._np_csc


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with TemporaryDirectory() as folder, threadpool_limits(1):
        for make in (
            partial(inverted.benchmark, given.passages, 6),
            partial(inverted.benchmark, given.passages, 30),
            partial(benchmark, given.passages, Path(folder)),
        ):
            Console().print(table(measure(make(), given.rounds, time.process_time)))


if __name__ == "__main__":
    main()
