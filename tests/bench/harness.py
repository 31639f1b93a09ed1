"""Contenders run turn about, so that a noisy minute slows all of them alike.

A benchmark is measured only if its contenders agree: each one's answer, from an unmeasured first
run, is compared with the first contender's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Clock = Callable[[], float]


@dataclass(frozen=True)
class Contender:
    """A way to do the work; `run` does all of it and returns the answer."""

    name: str
    run: Callable[[], Any]


@dataclass(frozen=True)
class Benchmark:
    """One piece of work, and several ways to do it.

    Attributes:
        items: how many `unit`s one run handles.
        contenders: the first one's answer is what the others are compared with.
        duels: (ours, peer) names; a ratio above 1 says that ours was faster.
        distance: how far an answer lies from the first contender's.
        tolerance: the largest distance that is still the same answer.
    """

    name: str
    unit: str
    items: int
    contenders: Sequence[Contender]
    duels: Sequence[tuple[str, str]]
    distance: Callable[[Any, Any], float]
    tolerance: float


@dataclass(frozen=True)
class Speed:
    """A contender's seconds, round by round, and how far its answer lies from the reference."""

    name: str
    seconds: Sequence[float]
    median_seconds: float
    per_second: float
    distance: float


@dataclass(frozen=True)
class Ratio:
    """The peer's seconds over ours, round by round: the median of the ratios, least and most."""

    ours: str
    peer: str
    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Outcome:
    """What came of one benchmark."""

    name: str
    unit: str
    items: int
    speeds: Sequence[Speed]
    ratios: Sequence[Ratio]


class AnswersDisagree(Exception):
    """A contender answered something else; its speed says nothing."""


def measure(benchmark: Benchmark, rounds: int, clock: Clock = time.perf_counter) -> Outcome:
    """Check the answers, then time all contenders `rounds` times, turn about: A B C A B C …

    Raises:
        AnswersDisagree: an answer is further from the first contender's than the tolerance.
    """
    distances = check_answers(benchmark)
    seconds: dict[str, list[float]] = {c.name: [] for c in benchmark.contenders}
    for _ in range(rounds):
        for contender in benchmark.contenders:
            seconds[contender.name].append(timed(contender.run, clock))
    speeds = [
        speed(name, taken, benchmark.items, distances[name]) for name, taken in seconds.items()
    ]
    ratios = [ratio(ours, peer, seconds) for ours, peer in benchmark.duels]
    return Outcome(benchmark.name, benchmark.unit, benchmark.items, speeds, ratios)


def check_answers(benchmark: Benchmark) -> dict[str, float]:
    """Run everyone once; the distance of each answer from the first. Raises AnswersDisagree."""
    answers = {contender.name: contender.run() for contender in benchmark.contenders}
    first = answers[benchmark.contenders[0].name]
    distances = {name: benchmark.distance(first, answer) for name, answer in answers.items()}
    for name, distance in distances.items():
        if not distance <= benchmark.tolerance:  # a NaN disagrees too
            raise AnswersDisagree(
                f"{benchmark.name}: {name} is {distance:g} away from "
                f"{benchmark.contenders[0].name}; at most {benchmark.tolerance:g} is allowed."
            )
    return distances


def timed(run: Callable[[], Any], clock: Clock) -> float:
    """Seconds that one run takes."""
    began = clock()
    run()
    return clock() - began


def speed(name: str, seconds: Sequence[float], items: int, distance: float) -> Speed:
    """A contender's figures from its rounds."""
    middle = median(seconds)
    return Speed(name, seconds, middle, items / middle, distance)


def ratio(ours: str, peer: str, seconds: dict[str, list[float]]) -> Ratio:
    """Round by round, since the rounds of one turn share the machine's mood."""
    pairs = zip(seconds[ours], seconds[peer], strict=True)
    ratios = [theirs / mine for mine, theirs in pairs]
    return Ratio(ours, peer, median(ratios), min(ratios), max(ratios))


def fastest(contenders: Sequence[Contender], clock: Clock = time.perf_counter) -> Contender:
    """The fastest of one run each, after one to warm up: how a peer's best setting is chosen."""
    contenders[0].run()
    return min(contenders, key=lambda contender: timed(contender.run, clock))
