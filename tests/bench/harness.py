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
    """A way to do the work.

    Attributes:
        run: does all of it and returns the answer.
        tolerance: the largest distance from the first contender's answer that still counts as
            the same; none for a peer whose answers are its own affair.
    """

    name: str
    run: Callable[[], Any]
    tolerance: float | None


@dataclass(frozen=True)
class Duel:
    """One of ours against a peer.

    Attributes:
        floor: the ratio of speeds that must be reached; above 1, ours is faster.
        goal: the ratio that is wanted.
    """

    ours: str
    peer: str
    floor: float
    goal: float


@dataclass(frozen=True)
class Benchmark:
    """One piece of work, and several ways to do it.

    Attributes:
        items: how many `unit`s one run handles.
        contenders: the first one's answer is what the others are compared with.
        distance: how far an answer lies from the first contender's.
        threads: that each contender may use.
    """

    name: str
    unit: str
    items: int
    contenders: Sequence[Contender]
    duels: Sequence[Duel]
    distance: Callable[[Any, Any], float]
    threads: int = 1


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

    duel: Duel
    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Outcome:
    """What came of one benchmark."""

    name: str
    unit: str
    items: int
    threads: int
    speeds: Sequence[Speed]
    ratios: Sequence[Ratio]


class AnswersDisagree(Exception):
    """A contender answered something else; its speed says nothing."""


def measure(benchmark: Benchmark, rounds: int, clock: Clock = time.perf_counter) -> Outcome:
    """Check the answers, then time all contenders `rounds` times, turn about: A B C A B C …

    Raises:
        AnswersDisagree: an answer is further from the first contender's than it may be.
    """
    distances = check_answers(benchmark)
    seconds: dict[str, list[float]] = {c.name: [] for c in benchmark.contenders}
    for _ in range(rounds):
        for contender in benchmark.contenders:
            seconds[contender.name].append(timed(contender.run, clock))
    speeds = [
        speed(name, taken, benchmark.items, distances[name]) for name, taken in seconds.items()
    ]
    ratios = [ratio(duel, seconds) for duel in benchmark.duels]
    return Outcome(
        benchmark.name, benchmark.unit, benchmark.items, benchmark.threads, speeds, ratios
    )


def check_answers(benchmark: Benchmark) -> dict[str, float]:
    """Run everyone once; the distance of each answer from the first. Raises AnswersDisagree."""
    answers = {contender.name: contender.run() for contender in benchmark.contenders}
    first = answers[benchmark.contenders[0].name]
    distances = {name: benchmark.distance(first, answer) for name, answer in answers.items()}
    for contender in benchmark.contenders:
        distance, most = distances[contender.name], contender.tolerance
        if most is not None and not distance <= most:  # a NaN disagrees too
            raise AnswersDisagree(
                f"{benchmark.name}: {contender.name} is {distance:g} away from "
                f"{benchmark.contenders[0].name}; at most {most:g} is allowed."
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


def ratio(duel: Duel, seconds: dict[str, list[float]]) -> Ratio:
    """Round by round, since the rounds of one turn share the machine's mood."""
    pairs = zip(seconds[duel.ours], seconds[duel.peer], strict=True)
    ratios = [theirs / mine for mine, theirs in pairs]
    return Ratio(duel, median(ratios), min(ratios), max(ratios))


def fastest(contenders: Sequence[Contender], clock: Clock = time.perf_counter) -> Contender:
    """The fastest of one run each, after one to warm up: how a peer's best setting is chosen."""
    contenders[0].run()
    return min(contenders, key=lambda contender: timed(contender.run, clock))
