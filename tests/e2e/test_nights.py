"""Random nights of an index, each checked against a dictionary of what must be live."""

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from shardrank.core.arrow_columns import matrix
from shardrank.core.fingerprint import content_hash
from shardrank.core.model_settings import DENSE
from shardrank.flows.verify import verify
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import Published, latest_version
from shardrank.storage.local import LocalStorage
from shardrank.version.liveness import unpack
from shardrank.version.manifest import Version
from shardrank.version.parts import Part
from tests.world import VOCABULARY, World, latest, make_world, shardrank, write_lines

SETS = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=24",
    "corpus.tombstone=gone",
    "gate.max_deleted=1",
    "gate.max_change=100",
    "gate.max_rejected=1",
    "compact.fold=3",
    "search.k=1000",
    "reranker.model=off",
)
EXACT = ("index.kind=exact",)
IVFPQ = (
    "index.kind=ivfpq",
    "index.pq_bits=4",
    "index.nlist=4",
    "index.shard_passages=400",
    "audit.k=5",
    "audit.queries=16",
    "audit.target=0.3",
)
#: Of two bits, over the first half of the components.
RABITQ = (*IVFPQ, "index.kind=ivfrabitq", "index.rabitq_bits=2", "index.dim=8")

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=2, queries=2)


@dataclass
class Story:
    """An index, and what must be live in it; `past` is what was live in each version."""

    world: World
    root: Path
    sets: tuple[str, ...]
    rng: random.Random
    least: int
    live: dict[str, str] = field(default_factory=dict)
    past: dict[int, dict[str, str]] = field(default_factory=dict)

    @property
    def index(self) -> Path:
        return self.root / "index"

    def words(self) -> str:
        return " ".join(self.rng.choices(VOCABULARY, k=self.rng.randint(3, 40)))

    def fresh(self, count: int) -> dict[str, str]:
        return {f"d{self.rng.randrange(10**9)}": self.words() for _ in range(count)}

    def some(self, share: float) -> list[str]:
        return [doc_id for doc_id in sorted(self.live) if self.rng.random() < share]

    def run(self, *words: str) -> None:
        assert shardrank(*words) == 0
        self.past[self.latest().number] = dict(self.live)

    def latest(self) -> Published:
        found = latest_version(Workspace(LocalStorage(str(self.index))))
        assert found
        return found

    def ingest(self, rows: list[object], mode: str) -> None:
        self.rng.shuffle(rows)
        corpus = self.written(rows)
        model = f"encoder.model={self.world.encoder}"
        settings = [w for s in (model, *SETS, *self.sets) for w in ("--set", s)]
        self.run("index", corpus, str(self.index), "--mode", mode, *settings)

    def written(self, rows: list[object]) -> str:
        """The corpus of a night."""
        return write_lines(self.root / "corpus.jsonl", rows)

    def hash_of(self, doc_id: str) -> str:
        """That of a live document's content."""
        return content_hash("", self.live[doc_id])

    # What a night can be.

    def snapshot(self) -> None:
        gone, edited = self.some(0.1), self.some(0.1)
        if len(self.live) - len(gone) > self.least:
            for doc_id in gone:
                del self.live[doc_id]
        self.live |= {doc_id: self.words() for doc_id in edited if doc_id in self.live}
        self.live |= self.fresh(self.rng.randint(0, 12))
        rows: list[object] = [{"_id": d, "text": t, "gone": False} for d, t in self.live.items()]
        bad: list[object] = ["{", {"_id": "no-text"}, {"_id": "empty", "text": " "}]
        self.ingest(rows + bad[: self.rng.randint(0, 3)], "snapshot")

    def upsert(self) -> None:
        edited = {doc_id: self.words() for doc_id in self.some(0.05)}
        written = edited | self.fresh(self.rng.randint(0, 6))
        gone = [d for d in self.some(0.05) if d not in written]
        gone = gone if len(self.live) - len(gone) > self.least else []
        rows: list[object] = [{"_id": d, "text": t, "gone": False} for d, t in written.items()]
        rows += [{"_id": d, "gone": True} for d in [*gone, "never-there"]]
        self.live |= written
        for doc_id in gone:
            del self.live[doc_id]
        self.ingest(rows, "upsert")

    def again(self) -> None:
        """The same snapshot: nothing is published, unless small pieces still fold."""
        rows: list[object] = [{"_id": d, "text": t, "gone": False} for d, t in self.live.items()]
        self.ingest(rows, "snapshot")

    def compact(self) -> None:
        model = f"encoder.model={self.world.encoder}"
        self.run("compact", str(self.index), "--set", model, *_words(self.sets))
        assert all(part.deleted is None for part in self.latest().version.parts)

    def rollback(self) -> None:
        number = self.rng.choice(sorted(self.past))
        self.live = dict(self.past[number])
        self.run("rollback", str(self.index), str(number))

    def nights(self) -> list[Callable[[], None]]:
        return [*[self.snapshot] * 4, *[self.upsert] * 3, self.again, self.compact, self.rollback]

    # What must hold.

    def check(self) -> None:
        workspace, found = Workspace(LocalStorage(str(self.index))), self.latest()
        wanted = {doc_id: self.hash_of(doc_id) for doc_id in self.live}
        assert live_documents(self.index, found.version) == wanted
        assert found.version.live.documents == len(wanted)
        changes = asdict(found.version.changes)
        kinds = ("added", "changed", "unchanged", "tombstones", "rejected")
        assert changes["rows"] == sum(changes[kind] for kind in kinds)
        assert [p for piece in verify(workspace, found.version) for p in piece.problems] == []
        covered = [n for shard in found.version.index.shards for n in shard.parts]
        assert sorted(covered) == list(range(len(found.version.parts)))

    def check_ranking(self) -> None:
        """What a search returns is live; an exact one returns all of it."""
        out = self.root / f"out{self.rng.randrange(10**9)}"
        queries = self.world.queries
        model = f"encoder.model={self.world.encoder}"
        settings = [w for s in (model, *SETS) for w in ("--set", s)]
        assert shardrank("rank", str(self.index), queries, str(out), *settings) == 0
        table = pq.read_table(out / "rankings")
        for query in set(table["query_id"].to_pylist()):
            rows = table.filter(np.array(table["query_id"].to_pylist()) == query)
            found = rows["doc_id"].to_pylist()
            assert len(found) == len(set(found))
            assert set(found) <= self.live.keys()
            assert self.sets != EXACT or len(found) == len(self.live)


def _words(sets: tuple[str, ...]) -> list[str]:
    return [word for value in sets for word in ("--set", value)]


def rows_of(index: Path, part: Part) -> np.ndarray:
    """bool[rows]: what is live in a part."""
    if part.deleted is None:
        return np.ones(part.rows, np.bool_)
    return ~unpack((index / part.deleted.key).read_bytes(), part.rows)


def live_documents(index: Path, version: Version) -> dict[str, str]:
    """Content hashes by id, from the passages themselves; no id is in two places."""
    found: dict[str, str] = {}
    for part in version.parts:
        live = rows_of(index, part)
        table = pq.read_table(index / part.passages.key).filter(live)
        mine = dict(
            zip(table["doc_id"].to_pylist(), table["content_hash"].to_pylist(), strict=True)
        )
        assert not found.keys() & mine.keys()
        found |= mine
    return found


def live_vectors(index: Path, version: Version) -> dict[tuple[str, int, str], np.ndarray]:
    """Vectors by document, passage and text."""
    found = {}
    for part in version.parts:
        live = rows_of(index, part)
        passages = pq.read_table(index / part.passages.key).filter(live).to_pylist()
        vectors = matrix(pq.read_table(index / part.columns[DENSE].file.key)["vector"])[live]
        for row, vector in zip(passages, vectors, strict=True):
            found[row["doc_id"], row["passage"], row["text"]] = vector
    return found


def live_through(world: World, root: Path, nights: int, seed: int, kind: tuple[str, ...]) -> Story:
    first, least = (20, 10) if kind == EXACT else (450, 400)  # enough to train a codec on
    story = Story(world, root, kind, random.Random(seed), least)
    lived(story, first, nights)
    return story


def lived(story: Story, first: int, nights: int) -> None:
    """So many nights, of which the first brings so many documents."""
    story.root.mkdir(parents=True, exist_ok=True)
    story.live = story.fresh(first)
    story.again()
    story.check()
    for night in range(nights):
        story.rng.choice(story.nights())()
        story.check()
        if night % 10 == 9:
            story.check_ranking()


def check_against_a_rebuild(story: Story) -> None:
    """The last night's index holds the passages and vectors that a new one would."""
    rebuilt = Story(story.world, story.root / "new", story.sets, random.Random(0), 0)
    rebuilt.root.mkdir()
    rebuilt.live = dict(story.live)
    rebuilt.again()
    old = live_vectors(story.index, story.latest().version)
    new = live_vectors(rebuilt.index, rebuilt.latest().version)
    assert old.keys() == new.keys()
    # The bits of a vector depend on its neighbours in the batch.
    assert all(np.allclose(old[key], new[key], atol=2e-3) for key in old)


@pytest.mark.parametrize("kind", [EXACT, IVFPQ], ids=["exact", "ivfpq"])
def test_random_nights(world: World, tmp_path: Path, kind: tuple[str, ...]) -> None:
    check_against_a_rebuild(live_through(world, tmp_path, nights=12, seed=1, kind=kind))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_two_hundred_nights(world: World, tmp_path: Path, seed: int) -> None:
    kind = {4: IVFPQ, 3: RABITQ}.get(seed % 5, EXACT)
    check_against_a_rebuild(live_through(world, tmp_path, nights=20, seed=seed, kind=kind))


def test_only_what_changed_is_embedded(world: World, tmp_path: Path) -> None:
    story = live_through(world, tmp_path, nights=0, seed=0, kind=EXACT)
    units = story.index / "units" / "embed"
    before = set(units.glob("*.json"))
    edited, gone = sorted(story.live)[0], sorted(story.live)[1]
    story.live[edited] = "wing flow"
    del story.live[gone]
    story.live["new"] = "heat shock"
    story.again()
    story.check()
    made = [json.loads(path.read_text()) for path in set(units.glob("*.json")) - before]
    changes = asdict(story.latest().version.changes)
    assert sum(done["counts"]["rows"] for done in made) == changes["embedded"] == 2
    assert {n: changes[n] for n in ("added", "changed", "deleted", "rejected")} == {
        "added": 1,
        "changed": 1,
        "deleted": 1,
        "rejected": 0,
    }


def test_a_night_keeps_the_kind_of_index(world: World, tmp_path: Path) -> None:
    """Though by its size it would be searched exactly."""
    corpus, index = tmp_path / "corpus.jsonl", tmp_path / "index"
    texts = list(itertools.product(VOCABULARY[:9], repeat=3))
    for count, sets in [(700, (*SETS, *IVFPQ)), (701, SETS), (702, (*SETS, "index.kind=auto"))]:
        rows = ({"_id": f"d{n}", "text": " ".join(texts[n]), "gone": False} for n in range(count))
        given = (f"encoder.model={world.encoder}", *sets)
        words = [word for value in given for word in ("--set", value)]
        assert shardrank("index", write_lines(corpus, rows), str(index), *words) == 0
        version = latest(index)
        assert version.index.plan.kind == ("exact" if count == 702 else "ivfpq")
        assert version.index.audit.k == 5


def test_nothing_changed_publishes_nothing(world: World, tmp_path: Path) -> None:
    story = live_through(world, tmp_path, nights=0, seed=0, kind=EXACT)
    story.again()
    assert story.latest().number == 1
