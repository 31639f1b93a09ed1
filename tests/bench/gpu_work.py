"""Measuring one model over one set of inputs: ours against its peers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float32
from tests.bench.distances import worst_cosine, worst_logit
from tests.bench.gpu_models import (
    ENCODE,
    PAIRS,
    Size,
    Work,
    flops,
    make_model,
    make_texts,
    over,
    packed_step,
    queued_share,
)
from tests.bench.gpu_peers import default_peer, reference, sentence_transformers_peer, tuned_peer
from tests.bench.gpu_setup import Setup, clock
from tests.bench.harness import Benchmark, Contender, Duel, Outcome, measure, timed

OURS, COMPILED = "shardrank", "shardrank compiled"
#: How many times as fast we want to be.
DEFAULT_GOAL, TUNED_GOAL = 3, 1.7
#: Rows whose answers are compared with the reference's.
JUDGED = 16
#: Cosine .9999; and for logits, this share of their spread. A random head spreads them little:
#: at 24 layers, bf16 alone costs .02 of it, and an answer to another pair about all of it.
COSINE, LOGITS = 1e-4, 0.1
#: Tokens of the run that finds out how many fill a second, and the most that are made.
PILOT, SMALL_PILOT, MOST = 1 << 18, 1 << 11, 1 << 25


@dataclass(frozen=True)
class Share:
    """A contender's tokens a second, and the share of the device's peak that its layers use.

    Padding and whatever else nobody needs is not counted as work.
    """

    name: str
    tokens_per_second: float
    of_peak: float


@dataclass(frozen=True)
class Measured:
    """What came of a benchmark.

    Attributes:
        shares: of the contenders, where models ran.
        queued: see `queued_share`.
    """

    outcome: Outcome
    shares: Sequence[Share]
    queued: float | None


Build = Callable[[], Measured | None]


def measure_work(
    task: str, size: Size, lengths: str, setup: Setup, rounds: int, peak: float
) -> Measured:
    """Vectors of texts or logits of pairs, against all peers that there are here."""
    work = _sized(task, size, lengths, setup)
    benchmark = _benchmark(f"{task} {size.name} {lengths}", work, setup)
    outcome = measure(benchmark, rounds, clock(setup.device))
    queued = queued_share(work, packed_step(work), setup)
    return Measured(outcome, _shares(outcome, work, peak), queued)


def _sized(task: str, size: Size, lengths: str, setup: Setup) -> Work:
    """As much work as fills the seconds that a run should take."""
    model, typed = make_model(size, setup.device), task == PAIRS

    def work(tokens: int) -> Work:
        return Work(task, size, make_texts(lengths, tokens, typed), model)

    pilot = work(SMALL_PILOT if setup.small else PILOT)
    if setup.small:
        return pilot
    run = over(pilot.texts, packed_step(pilot), pilot.columns, setup)
    run()
    rate = pilot.texts.tokens / timed(run, clock(setup.device))
    return work(min(MOST, max(PILOT, int(rate * setup.seconds))))


def _benchmark(name: str, work: Work, setup: Setup) -> Benchmark:
    rows = np.unique(np.linspace(0, len(work.texts.rows) - 1, JUDGED).astype(np.int64))
    wanted = reference(work, rows)

    def distance(_: Float32, answer: Float32) -> float:
        if work.task == ENCODE:
            return worst_cosine(wanted, answer[rows])
        return worst_logit(wanted, answer[rows]) / float(np.ptp(wanted))

    peers, ours = _peers(work, setup), _ours(name, work, setup)
    goals = [*(DEFAULT_GOAL for _ in peers[1:]), TUNED_GOAL]
    both = list(zip(peers, goals, strict=True))
    duels = [Duel(mine.name, peer.name, 1, goal) for mine in ours for peer, goal in both]
    unit = "texts" if work.task == ENCODE else "pairs"
    return Benchmark(name, unit, len(work.texts.rows), [*peers, *ours], duels, distance)


def _peers(work: Work, setup: Setup) -> list[Contender]:
    """The default, sentence-transformers where it is, and last the tuned one."""
    default, own = default_peer(work, setup), sentence_transformers_peer(work, setup)
    tuned = tuned_peer(work, setup)
    named = [(default.name, default), *([(own.name, own)] if own else [])]
    named.append((f"tuned: {tuned.name}", tuned))
    return [Contender(name, peer.over(work.texts), None) for name, peer in named]


def _ours(name: str, work: Work, setup: Setup) -> list[Contender]:
    tolerance = COSINE if work.task == ENCODE else LOGITS

    def contender(compiled: bool) -> Contender:
        run = over(work.texts, packed_step(work, compiled), work.columns, setup)
        return Contender(COMPILED if compiled else OURS, run, tolerance)

    plain = contender(compiled=False)
    if not setup.compiled:
        return [plain]
    fused = contender(compiled=True)
    return [plain, fused] if setup.attempt(f"{name}, {COMPILED}", fused.run) else [plain]


def _shares(outcome: Outcome, work: Work, peak: float) -> list[Share]:
    """Our cross-encoder's last layer does less, so that it is credited with less."""
    shares = []
    for speed in outcome.speeds:
        shortened = work.task == PAIRS and speed.name in (OURS, COMPILED)
        done = flops(work.size, work.texts.lengths, shortened)
        rate = work.texts.tokens / speed.median_seconds
        shares.append(Share(speed.name, rate, done / speed.median_seconds / peak))
    return shares
