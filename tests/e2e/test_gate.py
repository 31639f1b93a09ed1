"""What the gate refuses, with its reason, and that it lets normal nights pass."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.protocols import Float32
from pipelines.index import codec
from pipelines.models.encoder import TransformerEncoder
from pipelines.storage.local import LocalStorage
from tests.tiny_models import tiny_encoder
from tests.world import VOCABULARY, World, make_world, shardrank, write_lines

pytestmark = pytest.mark.usefixtures("inline")

Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What went to standard error since the last look."""
    return lambda: " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=2, queries=1)


@dataclass
class Store:
    """A document store that changes from night to night, and its index."""

    world: World
    root: Path
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def index(self) -> Path:
        return self.root / "index"

    def text(self) -> str:
        return " ".join(self.rng.choices(VOCABULARY, k=self.rng.randint(3, 40)))

    def add(self, count: int) -> None:
        self.texts |= {f"d{self.rng.randrange(10**9)}": self.text() for _ in range(count)}

    def drop(self, count: int) -> None:
        for doc_id in self.rng.sample(sorted(self.texts), count):
            del self.texts[doc_id]

    def edit(self, count: int) -> None:
        self.texts |= {d: self.text() for d in self.rng.sample(sorted(self.texts), count)}

    def night(self, *sets: str, bad: int = 0, mode: str = "snapshot") -> int:
        rows: list[Any] = [{"_id": d, "text": t} for d, t in self.texts.items()]
        corpus = write_lines(self.root / "corpus.jsonl", rows + ["{"] * bad)
        values = (f"encoder.model={self.world.encoder}", "passages.part_size=64", *sets)
        settings = [word for value in values for word in ("--set", value)]
        return shardrank("index", corpus, str(self.index), "--mode", mode, *settings)

    def versions(self) -> list[str]:
        return sorted(path.name for path in (self.index / "manifests").glob("*.json"))

    def embedded(self) -> int:
        keys = [entry.key for entry in LocalStorage(str(self.index)).list("units/embed")]
        return sum(not key.endswith(".rejected.parquet") for key in keys)


@pytest.fixture
def store(world: World, tmp_path: Path) -> Store:
    """With a first version of 200 documents."""
    found = Store(world, tmp_path)
    found.add(200)
    assert found.night() == 0
    return found


def test_a_half_empty_snapshot(store: Store, said: Said) -> None:
    store.drop(120)
    store.add(5)
    before = store.embedded()
    assert store.night() == 3
    message = said()
    assert "120 of 200 documents would be deleted (60.0%; gate.max_deleted = 0.1)" in message
    assert "documents more or less (200 → 85)" in message
    assert (store.versions(), store.embedded()) == (["000001.json"], before)
    assert store.night("gate.max_deleted=1", "gate.max_change=1") == 0
    assert store.versions() == ["000001.json", "000002.json"]


def test_a_source_of_bad_rows(store: Store, said: Said) -> None:
    assert store.night(bad=40) == 3
    assert "40 of 240 rows would be rejected (16.7%; gate.max_rejected = 0.1)" in said()
    assert store.versions() == ["000001.json"]


def test_another_encoder(store: Store, tmp_path: Path, said: Said) -> None:
    other = tiny_encoder(tmp_path / "other", "bert", dim=32)
    before = store.embedded()
    assert store.night(f"encoder.model={other}") == 3
    message = said()
    assert "the encoder changed since version 000001: all of its" in message
    assert "gate.reembed=true" in message
    assert (store.versions(), store.embedded()) == (["000001.json"], before)
    assert store.night(f"encoder.model={other}", "gate.reembed=true") == 0
    assert store.versions() == ["000001.json", "000002.json"]
    assert store.embedded() > before


def test_another_cut(store: Store, said: Said) -> None:
    assert store.night("passages.max_tokens=20") == 3
    assert "passages.max_tokens changed since version 000001" in said()


def test_an_upsert_cannot_change_the_encoder(store: Store, said: Said) -> None:
    assert store.night("passages.max_tokens=20", "gate.reembed=true", mode="upsert") == 2
    assert "an upsert does not hold them all" in said()


def poison(value: float) -> Callable[[TransformerEncoder, Sequence[Any]], Float32]:
    """What a broken accelerator might give: the same vector for any text."""

    def encode_ids(encoder: TransformerEncoder, ids: Sequence[Any]) -> Float32:
        vectors = np.zeros((len(ids), encoder.dim), np.float32)
        vectors[:, 0] = value
        return vectors

    return encode_ids


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.0, "the new vectors nearly all point the same way"),
        (float("nan"), "rows would be rejected"),
    ],
)
def test_poisoned_vectors(store: Store, said: Said, value: float, words: str) -> None:
    store.edit(150)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransformerEncoder, "encode_ids", poison(value))
        assert store.night() == 3
    assert words in said()
    assert store.versions() == ["000001.json"]


def test_a_codec_that_was_sabotaged(world: World, tmp_path: Path, said: Said) -> None:
    """Lists and codes learned from noise find little; the audit says so."""

    def noise(sample: Float32, plan: Any) -> bytes:
        rng = np.random.default_rng(0)
        return codec.train_codec(rng.standard_normal(sample.shape).astype(np.float32), plan)

    store = Store(world, tmp_path)
    store.add(450)
    quantised = ("index.kind=ivfpq", "index.pq_bits=4", "index.nlist=4", "passages.max_tokens=16")
    audit = ("audit.k=10", "audit.max_depth=20", "audit.queries=32", "audit.target=0.7")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.stages.build.train_codec", noise)
        assert store.night(*quantised, "index.pq_m=2", *audit) == 3
    assert "below the target 0.7; nothing was published" in said()
    assert store.versions() == []


def live_through(store: Store, nights: int) -> None:
    """A few per cent added, changed and deleted, and a bad row now and then."""
    for night in range(nights):
        store.add(store.rng.randint(1, 4))
        store.edit(store.rng.randint(1, 6))
        store.drop(store.rng.randint(0, 4))
        assert store.night(bad=night % 3) == 0
    assert len(store.versions()) == nights + 1


def test_normal_nights_pass(store: Store) -> None:
    live_through(store, nights=5)


@pytest.mark.slow
def test_fifty_normal_nights_pass(store: Store) -> None:
    live_through(store, nights=50)


def test_plan_says_what_a_change_of_encoder_costs(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tiny_encoder(tmp_path / "other", "bert", dim=32)
    capsys.readouterr()
    words = ["plan", "index", str(store.root / "corpus.jsonl"), str(store.index)]
    assert shardrank(*words, "--set", f"encoder.model={other}") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "version 000001: 200 documents; the encoder changed, all 200" in said
    assert "passages are embedded anew; refused without --set gate.reembed=true" in said
    assert shardrank(*words, "--set", f"encoder.model={store.world.encoder}") == 0
    assert "only new and changed ones are embedded" in " ".join(capsys.readouterr().out.split())
