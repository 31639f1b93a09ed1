"""Twenty nights by cron, with a miss, a refusal and a kill: the right versions and alerts."""

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest

from shardrank.core.fingerprint import content_hash
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import read_version
from shardrank.storage.local import LocalStorage
from tests.cluster.nights import KILLED, RUN, Fate, Machine, Night
from tests.e2e.test_nights import live_documents
from tests.tiny_models import tiny_encoder
from tests.watched import Prometheus, absent, alerts_of, watching

NIGHTS = 20
CODES = {"good": 0, "missed": None, "refused": 3, "killed": KILLED}
#: Seconds from one night to the next, where a Prometheus watches; and before the next one begins.
EVERY, LOOKED_AT = 25.0, 4.0
#: A killed run counts as cut off after a minute, which these nights do not have.
ALERTS: dict[Fate, set[str]] = {
    "good": set(),
    "missed": {"ShardrankNightMissed"},
    "refused": {"ShardrankNightMissed", "ShardrankVersionRefused"},
    "killed": {"ShardrankNightMissed"},
}


def fates(rng: random.Random) -> list[Fate]:
    """One miss, one refusal and one kill, none of them in the first or the last night."""
    found: list[Fate] = ["good"] * NIGHTS
    bad = [fate for fate in get_args(Fate) if fate != "good"]
    for night, fate in zip(rng.sample(range(1, NIGHTS - 1), len(bad)), bad, strict=True):
        found[night] = fate
    return found


def documents(index: Path, number: int) -> dict[str, str]:
    """Content hashes of a version's live documents, by id."""
    version = read_version(Workspace(LocalStorage(str(index))), number)
    return live_documents(index, version)


@contextmanager
def watched(folder: Path) -> Iterator[Prometheus | None]:
    """A Prometheus for these nights; None where it is not installed."""
    if absent():
        yield None
        return
    with watching(folder, night=EVERY) as prometheus:
        yield prometheus


def told(prometheus: Prometheus, index: Path) -> None:
    """What cron does every minute between the nights."""
    words = [*RUN, "status", str(index), "--prometheus"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    prometheus.tell("index", done.stdout)


def firing(prometheus: Prometheus, night: Night) -> set[str]:
    """The alerts that fire shortly before the next night begins."""
    time.sleep(max(LOOKED_AT, night.began + EVERY - LOOKED_AT - time.time()))
    # Of nights that last seconds the status is always old, by its own measure.
    return {name for name, _ in alerts_of(prometheus)} - {"ShardrankStatusStale"}


@pytest.mark.slow
def test_twenty_nights(tmp_path: Path) -> None:
    machine = Machine(tmp_path, tiny_encoder(tmp_path / "encoder", "bert", dim=16))
    published = 0
    with watched(tmp_path / "watched") as prometheus:
        for night in machine.live_through(fates(random.Random(0)), EVERY if prometheus else 0.0):
            published += night.fate == "good"
            assert (night.code, night.version) == (CODES[night.fate], published), night.number
            if night.fate == "good":
                wanted = {doc_id: content_hash("", text) for doc_id, text in night.texts.items()}
                assert documents(machine.index, night.version) == wanted
            if prometheus:
                told(prometheus, machine.index)
                assert firing(prometheus, night) == ALERTS[night.fate], night.number
