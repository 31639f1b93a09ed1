"""The benchmarks' arithmetic, on timings that are made up."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.bench.harness import (
    AnswersDisagree,
    Benchmark,
    Contender,
    Duel,
    check_answers,
    fastest,
    measure,
)
from tests.bench.texts import documents, questions


class FakeTime:
    """A clock that moves only when a contender works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns: list[str] = []

    def __call__(self) -> float:
        return self.now

    def contender(
        self,
        name: str,
        seconds: Sequence[float],
        answer: float = 0.0,
        tolerance: float | None = 0.01,
    ) -> Contender:
        left = iter(seconds)
        return Contender(name, self._work(name, left, answer), tolerance)

    def _work(self, name: str, left: Iterator[float], answer: float) -> Callable[[], float]:
        def run() -> float:
            self.turns.append(name)
            self.now += next(left)
            return answer

        return run


def benchmark(*contenders: Contender) -> Benchmark:
    names = [contender.name for contender in contenders]
    duels = [Duel(names[1], names[0], floor=1.5, goal=3.0)]
    return Benchmark("work", "rows", 100, contenders, duels, lambda a, b: abs(a - b))


def test_medians_and_ratios_are_taken_over_the_measured_rounds() -> None:
    time = FakeTime()
    peer = time.contender("peer", [99.0, 4.0, 8.0, 6.0])  # the first run only answers
    ours = time.contender("ours", [99.0, 2.0, 2.0, 6.0])
    outcome = measure(benchmark(peer, ours), rounds=3, clock=time)
    assert [speed.median_seconds for speed in outcome.speeds] == [6.0, 2.0]
    assert [speed.per_second for speed in outcome.speeds] == [100 / 6, 50.0]
    assert outcome.speeds[0].seconds == [4.0, 8.0, 6.0]
    [ratio] = outcome.ratios
    assert (ratio.duel.ours, ratio.duel.peer) == ("ours", "peer")
    assert (ratio.median, ratio.least, ratio.most) == (2.0, 1.0, 4.0)


def test_contenders_take_turns() -> None:
    time = FakeTime()
    peer, ours = time.contender("peer", [1.0] * 3), time.contender("ours", [1.0] * 3)
    measure(benchmark(peer, ours), rounds=2, clock=time)
    assert time.turns == ["peer", "ours"] * 3


@pytest.mark.parametrize("answer", [0.02, float("nan")])
def test_answers_that_disagree_are_refused_before_anything_is_timed(answer: float) -> None:
    time = FakeTime()
    peer, ours = time.contender("peer", [1.0]), time.contender("ours", [1.0], answer)
    with pytest.raises(AnswersDisagree, match="work: ours is"):
        measure(benchmark(peer, ours), rounds=5, clock=time)
    assert time.turns == ["peer", "ours"]


def test_answers_within_the_tolerance_pass() -> None:
    time = FakeTime()
    peer, ours = time.contender("peer", [1.0]), time.contender("ours", [1.0], 0.005)
    assert check_answers(benchmark(peer, ours)) == {"peer": 0.0, "ours": 0.005}


def test_a_peers_own_precision_is_reported_and_not_refused() -> None:
    time = FakeTime()
    peer, other = time.contender("peer", [1.0]), time.contender("other", [1.0], 0.5, tolerance=None)
    assert check_answers(benchmark(peer, other)) == {"peer": 0.0, "other": 0.5}


def test_the_texts_are_there() -> None:
    assert len(set(documents(50))) == 50
    assert len(set(questions(20))) == 20


def test_the_peers_best_setting_is_chosen_after_a_run_to_warm_up() -> None:
    time = FakeTime()
    first, second = time.contender("16", [50.0, 3.0]), time.contender("32", [2.0])
    assert fastest([first, second], clock=time).name == "32"
    assert time.turns == ["16", "16", "32"]
