"""One device, how long it may be measured, and what had to be left out."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tests.bench.harness import Clock

#: Side of the square matrices whose product is taken for the most that the device can do.
SIDE, SMALL_SIDE = 8_192, 256
PRODUCTS, TRIES = 10, 5


@dataclass(frozen=True)
class Skip:
    """Something that was not measured, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Setup:
    """How to measure.

    Attributes:
        small: tiny models and few rows: the code runs, and its times mean nothing.
        seconds: that one run of ours should take, about.
        batch_tokens: in one of our batches.
        compiled: whether our layers compete under torch.compile too.
        skips: grows with whatever cannot be measured here.
    """

    device: torch.device
    small: bool = False
    seconds: float = 0.3
    batch_tokens: int = 65_536
    compiled: bool = False
    skips: list[Skip] = field(default_factory=list)

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def skip(self, what: str, reason: str) -> None:
        """Print and keep it, once."""
        if (skip := Skip(what, reason)) not in self.skips:
            print(f"skipped: {what}: {reason}", flush=True)
            self.skips.append(skip)

    def attempt(self, what: str, run: Callable[[], object]) -> bool:
        """Whether it runs here. A peer of another version may fail in any way: that is a skip."""
        try:
            run()
        except Exception as error:
            self.skip(what, " ".join(f"{type(error).__name__}: {error}".split())[:300])
            return False
        return True


def clock(device: torch.device) -> Clock:
    """Seconds after all that the device was given is done."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


@torch.inference_mode()
def matmul_peak(setup: Setup) -> float:
    """Operations a second in products of square bf16 matrices, the best of a few tries.

    Random numbers, since zeros cost less power and look faster.
    """
    side = SMALL_SIDE if setup.small else SIDE
    left, right = (
        torch.randn(side, side, device=setup.device).to(torch.bfloat16) for _ in range(2)
    )
    out, now = torch.mm(left, right), clock(setup.device)

    def seconds() -> float:
        began = now()
        for _ in range(PRODUCTS):
            torch.mm(left, right, out=out)
        return (now() - began) / PRODUCTS

    return 2 * side**3 / min(seconds() for _ in range(TRIES))
