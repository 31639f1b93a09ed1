"""Twenty nights by cron, with a miss, a refusal and a kill, leave exactly the right versions."""

import random
from pathlib import Path
from typing import get_args

import pytest

from shardrank.core.fingerprint import content_hash
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import read_version
from shardrank.storage.local import LocalStorage
from tests.cluster.nights import KILLED, Fate, Machine
from tests.e2e.test_nights import live_documents
from tests.tiny_models import tiny_encoder

NIGHTS = 20
CODES = {"good": 0, "missed": None, "refused": 3, "killed": KILLED}


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


@pytest.mark.slow
def test_twenty_nights(tmp_path: Path) -> None:
    machine = Machine(tmp_path, tiny_encoder(tmp_path / "encoder", "bert", dim=16))
    published = 0
    for night in machine.live_through(fates(random.Random(0))):
        published += night.fate == "good"
        assert (night.code, night.version) == (CODES[night.fate], published), night.number
        if night.fate == "good":
            wanted = {doc_id: content_hash("", text) for doc_id, text in night.texts.items()}
            assert documents(machine.index, night.version) == wanted
