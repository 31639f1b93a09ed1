"""What metrics cost: the embed stage on a Ray that a Prometheus scrapes, with and without its
meter, turn about; then the meter alone, by the unit.

python -m tests.bench.metrics [--rounds 8] [--passages 4096] [--every 15]
"""

import argparse
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import shardrank
from shardrank.core.pace import StageNow
from shardrank.core.units import Done
from shardrank.stages.run.on_ray import OnRay
from shardrank.stages.run.reporter import Reporter, Silent
from tests.bench.flow import WORDS, short_texts, write_corpus
from tests.watched import Head, ray_head, watching

#: Small parts: what a unit costs beside the model shows more.
PART = 128
#: Units that the meter alone is told of.
TOLD = 2000


class EmbedRate(Silent):
    """Passages a second of the embed stage, from its first unit's end to its last one's."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def advanced(self, stage: str, done: Done[Any]) -> None:
        if stage == "embed":
            self._seen.append((time.monotonic(), done.counts["rows"]))

    @property
    def rate(self) -> float:
        seconds = self._seen[-1][0] - self._seen[0][0]
        return sum(rows for _, rows in self._seen[1:]) / seconds


def embedded(corpus: Path, head: Head, metered: bool) -> float:
    """Passages a second of one run, from nothing."""
    told, sets = EmbedRate(), (f"cluster.address={head.address}", f"passages.part_size={PART}")
    with TemporaryDirectory() as index, pytest.MonkeyPatch.context() as patch:
        if not metered:
            patch.setattr(OnRay, "meter", _nobody)
        shardrank.index(corpus, index, reporter=told, overrides=sets)
    return told.rate


def _nobody(ray: OnRay, flow: str, path: str) -> Reporter:
    return Silent()


def a_unit() -> float:
    """Microseconds of CPU of the meter for a unit that is done, in the run's own process."""
    from shardrank.stages.run.metrics import Meter  # imports Ray

    meter, done = Meter("index", "/i"), Done("u", None, {"rows": 128})
    now = StageNow("embed", 9, 0, 1, 0.5, 128, 0, "", 0.0, 1.0, 9.0, False)
    spent = {"busy:cpu": 1.0, "wait:cpu": 0.1, "tokens": 9.0, "read:s3": 9.0, "written:s3": 9.0}
    began = time.process_time()
    for _ in range(TOLD):
        meter.spent("embed", spent)
        meter.advanced("embed", done)
        meter.moved(now)
    return (time.process_time() - began) / TOLD * 1e6


def main() -> None:
    """Print the rates of each round, the median ratio and its spread, then what a unit costs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--passages", type=int, default=4096)
    parser.add_argument("--every", type=int, default=15, help="seconds from scrape to scrape")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder, ray_head() as head, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        if asked.rounds:
            with watching(Path(folder) / "watched", head.metrics, every=asked.every):
                in_turn(Path(folder), head, asked.rounds, asked.passages)
        alone(head)


def in_turn(folder: Path, head: Head, rounds: int, passages: int) -> None:
    """With and without, and the other way round."""
    corpus, ratios = folder / "corpus.jsonl", list[float]()
    write_corpus(short_texts(passages, WORDS), corpus)
    embedded(corpus, head, metered=True)  # what is loaded for the first time
    for number in range(rounds):
        order = (True, False) if number % 2 else (False, True)
        rates = {metered: embedded(corpus, head, metered) for metered in order}
        ratios.append(rates[True] / rates[False])
        said = f"with {rates[True]:.0f}/s, without {rates[False]:.0f}/s: {ratios[-1]:.3f}"
        print(said, flush=True)
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(f"ratio, median of {len(ratios)}: {median(ratios):.3f} ({spread})")


def alone(head: Head) -> None:
    """The meter without a flow."""
    import ray  # see `a_unit`

    ray.init(head.address, log_to_driver=False)
    costs = sorted(a_unit() for _ in range(9))
    ray.shutdown()
    print(f"a unit costs {median(costs):.0f} us ({costs[0]:.0f} to {costs[-1]:.0f})")


if __name__ == "__main__":
    main()
