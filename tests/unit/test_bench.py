"""The benchmarks' arithmetic, on timings that are made up."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.bench.beir import Collection
from tests.bench.bounds import Bound
from tests.bench.growth import Point
from tests.bench.growth import _bounds as growth_bounds
from tests.bench.harness import (
    AnswersDisagree,
    Benchmark,
    Contender,
    Duel,
    Outcome,
    Ratio,
    Speed,
    check_answers,
    fastest,
    measure,
)
from tests.bench.hybrid_peers import agreement
from tests.bench.process_memory import Held, peak_memory, together
from tests.bench.quality import Task, _swapped
from tests.bench.show import write_json, write_markdown
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


def test_a_bound_is_of_the_median() -> None:
    kept, broken = (Bound("start", "s", values, 1.0) for values in ([0.5, 9.0, 1.0], [1.5]))
    assert (kept.middle, kept.kept, broken.kept) == (1.0, True, False)
    assert kept.shown() == "1.00 s (0.50 to 9.00)"


def test_the_readmes_tables_come_from_the_json(tmp_path: Path) -> None:
    duel = Duel("ours", "theirs", floor=1, goal=1.5)
    speeds = [Speed("ours", [0.1], 0.1, 1234.5, 0.0), Speed("theirs", [1.25], 1.25, 98.76, 0.0)]
    outcome = Outcome("work", "rows", 123, 2, speeds, [Ratio(duel, 12.5, 12.0, 13.0)])
    bounds = [Bound("start", "s", [0.5], 1.0), Bound("loss", "", [0.0012], 0.003)]
    about = {"date": "2026-11-26", "cpu": "A CPU", "cores": 2, "peaks": {"fp32": 100, "int8": 1000}}
    write_json(tmp_path / "bench.json", [outcome], bounds, about)
    write_markdown(tmp_path / "bench.md", json.loads((tmp_path / "bench.json").read_text()))
    rows = (tmp_path / "bench.md").read_text().splitlines()
    wanted = "| work, rows/s | ours: 1,230 | theirs: 98.8 | **12.50** (12.00 to 13.00) | 1 | 1.5 |"
    assert rows[0].startswith("2026-11-26, A CPU, 2 cores; ")
    assert rows[0].endswith("fp32 100, int8 1,000.")
    assert rows[4] == wanted
    assert rows[-2:] == ["| start | 0.50 s | 1 s |", "| loss | 0.0012 | 0.003 |"]


def test_only_what_changes_places_is_compared() -> None:
    exact = np.array([[0.9, 0.5, 0.45, 0.1], [0.4, 0.3, 0.2, 0.1]], np.float32)
    small = np.array([[0.9, 0.4, 0.46, 0.1], [0.4, 0.3, 0.2, 0.1]], np.float32)
    assert _swapped(exact, exact) == 0
    assert _swapped(exact, small) == pytest.approx(0.05)


def test_ndcg_is_of_the_one_answer() -> None:
    task = Task(["q"] * 3, [], np.array([7, 1, 99]))
    ranked = np.tile(np.arange(20), (3, 1))
    assert task.ndcg(ranked) == pytest.approx((1 / np.log2(9) + 1 / np.log2(3)) / 3)


def test_growth_is_a_cost_for_each_item_as_a_multiple_of_the_smallest() -> None:
    def point(seconds: float, peak: int, files: int) -> Point:
        stages = ("scan", "compare", "ingest", "embed", "search", "merge")
        return Point(dict.fromkeys(stages, seconds), peak, files, 1000 * files)

    points = {("index", 1, 1): point(2.0, 100, 10), ("rank", 1, 1): point(2.0, 100, 10)}
    points |= {(flow, 4, 1): point(12.0, 110, 44) for flow in ("index", "rank")}
    points["rank", 1, 4] = point(8.0, 100, 20)
    found = {bound.name: bound.middle for bound in growth_bounds(4, [points])}
    assert found["4 times the passages: embed, a passage"] == 1.5
    assert found["4 times the passages: index, peak memory"] == 1.1
    assert found["4 times the queries: search, merge, a query and passage"] == 1.0
    assert found["4 times the passages: index, files opened, for each"] == 1.1
    assert found["4 times the queries: rank, bytes read, for each"] == 0.5


def test_pages_of_files_count_once_for_all_processes() -> None:
    assert together([Held(own=100, files=50), Held(own=30, files=70)]) == 200
    assert together([]) == 0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_the_memory_of_a_process_and_of_its_children_is_added_up() -> None:
    hold = "data = bytearray(50 << 20); import time; time.sleep(1)"
    spawn = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}]); "
    peak = peak_memory([sys.executable, "-c", spawn + "data = bytearray(1 << 20)"])
    assert peak.processes == 2
    assert 50 << 20 < peak.size < 150 << 20


def test_a_list_agrees_that_is_the_peers_but_for_ties() -> None:
    theirs = {"q": {"a": 3.0, "b": 2.0, "c": 2.0, "d": 1.0}}
    same = agreement("peer", {"q": {"a": 3.0000001, "b": 2.0}}, theirs, 2)
    tied = agreement("peer", {"q": {"a": 3.0, "c": 2.0}}, theirs, 2)
    assert same.agrees
    assert (same.hits, same.moved) == (2, 0)
    assert tied.agrees
    assert tied.moved == 1


@pytest.mark.parametrize(
    ("ours", "wrong", "unlike"),
    [
        ({"a": 3.0, "d": 1.0}, 1, 0),  # another document, not for a tie
        ({"a": 3.0, "e": 2.0}, 1, 0),  # one that the peer has not found
        ({"a": 3.0}, 0, 1),  # too few
        ({"a": 3.1, "b": 2.0}, 0, 0),  # another score
    ],
)
def test_a_list_disagrees(ours: dict[str, float], wrong: int, unlike: int) -> None:
    theirs = {"q": {"a": 3.0, "b": 2.0, "c": 2.0, "d": 1.0}}
    found = agreement("peer", {"q": ours}, theirs, 2)
    assert not found.agrees
    assert (found.wrong, found.unlike) == (wrong, unlike)
    assert bool(found.sample) == (not unlike)


def test_a_share_of_a_collection_has_all_judged_documents(tmp_path: Path) -> None:
    source = tmp_path / "some"
    (source / "qrels").mkdir(parents=True)
    rows = [json.dumps({"_id": str(n), "text": f"wing {n}"}) + "\n" for n in range(10)]
    (source / "corpus.jsonl").write_text("".join(rows))
    judged = [(f"q{n}", "7", 1) for n in range(8)]
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, each)) for each in judged)]
    (source / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    some = Collection(source, tmp_path / "made", every=4)
    kept = [json.loads(line)["_id"] for line in some.corpus().read_text().splitlines()]
    halves = [path.read_text().splitlines()[1:] for path in some.halves()]
    assert kept == ["0", "4", "7", "8"]
    assert Collection(source, tmp_path / "made").corpus() == source / "corpus.jsonl"
    assert sorted(halves[0] + halves[1]) == sorted(lines[1:])
    assert all(halves)
