"""A version with a column of every family (tests/every_column.py): ended at each change of the
storage, killed with kill -9 at random moments, on Ray and without, and lived through random
nights. Minutes each."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_hybrid_recovery import Job, check_every, recover, second_night, seen
from tests.e2e.test_nights import SETS as NIGHTS
from tests.e2e.test_nights import Story, lived
from tests.e2e.test_recovery import differing
from tests.every_column import (
    ALL,
    COLUMNS,
    NO_CODEBOOKS,
    SEARCHED,
    SETS,
    Stored,
    Values,
    columns_of,
    few_to_train_on,
    retrievers,
)
from tests.inline import installed
from tests.world import make_world, shardrank

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> Job:
    """Few parts, so that a stage has few units; and a ranking by two rerankers."""
    root = tmp_path_factory.mktemp("every")
    world = make_world(root, models, documents=30, queries=3)
    few_parts = ("passages.part_size=36", "compact.fold=2", *NO_CODEBOOKS)
    maxsim = ("reranker.depth=4", "reranker.maxsim.of=pooled2", "reranker.maxsim.depth=3")
    asked = (*retrievers(), *maxsim)
    sets = (*SETS, *columns_of(root, world), *few_parts, *asked)
    ray = ("cluster.executor=ray", "cluster.cpus=2", "cluster.object_store_mb=100")
    return Job(world, second_night(world), sets, ray)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, job: Job) -> dict[str, Any]:
    """What an uninterrupted run leaves."""
    root = tmp_path_factory.mktemp("whole")
    with installed():
        job.finish(root)
    return seen(root)


@pytest.mark.parametrize("first", range(1, 21))
def test_ended_at_every_twentieth_change(
    job: Job, expected: dict[str, Any], tmp_path: Path, first: int
) -> None:
    """In turn before and after it: at every change, all of these tests together."""
    assert len(check_every(job, expected, tmp_path, every=20, first=first)) > 5


#: Stages of each command within which its process is killed.
CHANGES = [f"embed-{name}" for name in COLUMNS]
NIGHT = [*CHANGES, *(f"fit-{name}" for name, column in COLUMNS.items() if column.fitted)]
RANKING = [*(f"search-{name}" for name in SEARCHED if name != "dense"), "merge", "rerank"]


@pytest.mark.ray
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_on_ray(
    job: Job,
    expected: dict[str, Any],
    tmp_path: Path,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each command once, at a random moment; the next goes on from what it left."""
    monkeypatch.setattr("tests.e2e.test_recovery.DEADLINE", 1200)
    rng = random.Random(seed)
    moments = list(enumerate(map(rng.choice, (NIGHT, CHANGES, RANKING))))
    with installed():
        killed = recover(job, tmp_path, moments, rng, most=1.0)
    print(f"{killed} of {len(moments)} kills met a running process")
    assert differing(seen(tmp_path), expected) == []
    assert killed >= 2


@dataclass
class EveryStory(Story):
    """A story of every column: what each held of what is live, in each version."""

    held: dict[int, dict[str, Values]] = field(default_factory=dict)

    def check(self) -> None:
        """What is live on keeps its values bit for bit; a rollback brings those back that were."""
        super().check()
        found, now = self.latest(), Stored(self.index, self.root)
        values = {name: now.values(name) for name in ALL}
        before = self.held.get(found.number - 1, {})
        if found.version.made.flow == "rollback":
            before = next(v for n, v in self.held.items() if self.past[n] == self.live)
        for name, held in before.items():
            both = held.keys() & values[name].keys()
            assert all(held[key] == values[name][key] for key in both), name
            now.require_values(name)
        self.held[found.number] = values

    def check_ranking(self) -> None:
        """Every retriever finds live documents only; an exact one of vectors finds all."""
        out = self.root / f"out{self.rng.randrange(10**9)}"
        sets = (f"encoder.model={self.world.encoder}", *NIGHTS, *retrievers())
        parted = [word for value in sets for word in ("--set", value)]
        assert shardrank("rank", str(self.index), self.world.queries, str(out), *parted) == 0
        for name, lists in Stored(self.index, out).lists.items():
            for hits in lists:
                found = [hit.doc_id for hit in hits]
                assert len(found) == len(set(found))
                assert set(found) <= self.live.keys()
                whole = ALL[name].exact and name not in ("bm25", "sparse", "words", "terms")
                assert not whole or len(found) == len(self.live)


@pytest.mark.parametrize("seed", range(3))
def test_random_nights(
    tmp_path: Path, models: tuple[Path, Path], seed: int, inline: pytest.MonkeyPatch
) -> None:
    few_to_train_on(inline)
    world = make_world(tmp_path / "world", models, documents=2, queries=2)
    sets = (*SETS, *columns_of(tmp_path, world))
    story = EveryStory(world, tmp_path / "story", sets, random.Random(seed), least=40)
    lived(story, first=50, nights=20)
