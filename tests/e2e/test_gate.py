"""What the gate refuses, with its reason, and that it lets normal nights pass."""

import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardrank.core.arrays import Float32
from shardrank.core.model_settings import EncoderSettings
from shardrank.index import codec
from shardrank.models.cards import read_encoder_card
from shardrank.models.encoders.dense import BiEncoder
from shardrank.stages.index.publish import publish
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import latest_version
from shardrank.storage.local import LocalStorage
from shardrank.version.manifest import Version
from tests.tiny_models import tiny_encoder
from tests.world import VOCABULARY, World, make_world, shardrank, write_lines

pytestmark = pytest.mark.usefixtures("inline")

Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What went to both streams since the last look."""
    return lambda: " ".join("".join(capsys.readouterr()).split())


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
    folder: str = "index"

    @property
    def index(self) -> Path:
        return self.root / self.folder

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

    def latest(self) -> Version:
        found = latest_version(Workspace(LocalStorage(str(self.index))))
        assert found
        return found.version

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
    told = said()
    assert "40 of 240 rows would be rejected (16.7%; gate.max_rejected = 0.1)" in told
    [folder] = store.index.glob("runs/*/rejected")
    assert f"Rejected: 40 malformed_json; row by row in {folder}/." in told
    assert store.versions() == ["000001.json"]


def test_another_encoder(store: Store, tmp_path: Path, said: Said) -> None:
    other = tiny_encoder(tmp_path / "other", "bert", dim=32)
    before = store.embedded()
    assert store.night(f"encoder.model={other}") == 3
    message = said()
    changed = f"encoder.model from {store.world.encoder} to {other}"
    assert f"Changed since version 000001: {changed}. All of its" in message
    assert "gate.reembed=true" in message
    assert (store.versions(), store.embedded()) == (["000001.json"], before)
    assert store.night(f"encoder.model={other}", "gate.reembed=true") == 0
    assert store.versions() == ["000001.json", "000002.json"]
    assert store.embedded() > before


def test_another_cut(store: Store, said: Said) -> None:
    assert store.night("passages.max_tokens=20") == 3
    limit = read_encoder_card(EncoderSettings(model=str(store.world.encoder))).max_tokens
    told = said()
    assert f"passages.max_tokens from {limit} to 20; passages.overlap from 32 to 10." in told
    assert store.night(f"passages.max_tokens={limit}") == 0, "what it is anyway"


def test_an_upsert_cannot_change_the_encoder(store: Store, said: Said) -> None:
    assert store.night("passages.max_tokens=20", "gate.reembed=true", mode="upsert") == 2
    assert "an upsert does not hold them all" in said()


def test_a_column_that_was_forgotten(store: Store, said: Said) -> None:
    """All contents are others then: nothing is embedded unless that is meant."""
    texts = {doc_id: f"{text} more" for doc_id, text in store.texts.items()}
    store.texts.update(texts)
    before = store.embedded()
    assert store.night() == 3
    assert "200 of 200 documents would be embedded anew (100.0%; gate.max_changed = 0.5)" in said()
    assert store.embedded() == before
    assert store.night("gate.max_changed=1") == 0


def poison(value: float) -> Callable[[BiEncoder, Sequence[Any]], Float32]:
    """What a broken accelerator might give: the same vector for any text."""

    def encode_ids(encoder: BiEncoder, ids: Sequence[Any]) -> Float32:
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
    store.edit(90)
    store.add(40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BiEncoder, "encode_ids", poison(value))
        assert store.night("gate.max_deleted=1") == 3
    assert words in said()
    assert store.versions() == ["000001.json"]
    # Once the encoder is sound again, nothing of the bad night is found again.
    assert store.night() == 0
    assert store.versions() == ["000001.json", "000002.json"]


def test_a_part_without_a_finite_vector_is_refused(store: Store, said: Said) -> None:
    """Even where the gate would let so few rows go; and nothing of it is found again."""
    store.add(18)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BiEncoder, "encode_ids", poison(float("nan")))
        assert store.night() == 2
    assert "gives no finite vector: those of all 18 passages of a part" in said()
    assert store.versions() == ["000001.json"]
    assert store.night() == 0
    assert store.latest().live.documents == 218


def test_a_few_bad_vectors_are_tried_again(store: Store) -> None:
    store.add(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BiEncoder, "encode_ids", poison(float("nan")))
        assert store.night() == 0
    assert store.latest().live.documents == 200
    assert store.night() == 0
    assert store.latest().live.documents == 203


def test_an_upsert_keeps_what_it_cannot_replace(store: Store) -> None:
    """In a snapshot a document without a usable form is gone; an upsert keeps the stored one."""
    first, second = sorted(store.texts)[:2]
    everything = dict(store.texts)
    store.texts.clear()
    store.texts.update({first: " ", second: "\u200b\u200b"})
    assert store.night("gate.max_rejected=1", mode="upsert") == 0
    assert store.latest().live.documents == 200
    store.texts.update({**everything, first: " ", second: "\u200b\u200b"})
    assert store.night() == 0
    version = store.latest()
    assert (version.live.documents, version.changes.deleted) == (198, 2)


def test_all_documents_deleted(store: Store, said: Said) -> None:
    ids = list(store.texts)
    rows = [{"_id": doc_id, "gone": True} for doc_id in ids]
    corpus = write_lines(store.root / "gone.jsonl", rows)
    sets = ("corpus.tombstone=gone", "gate.max_deleted=1", "gate.max_change=1")
    model = f"encoder.model={store.world.encoder}"
    words = [word for value in (model, *sets) for word in ("--set", value)]
    assert shardrank("index", corpus, str(store.index), "--mode", "upsert", *words) == 2
    assert "would delete all documents of the index" in said()


def test_a_night_that_changes_nothing_tells_of_itself(store: Store, said: Said) -> None:
    said()
    assert store.night(bad=2) == 0
    message = said()
    assert "is already the latest; nothing changed" in message
    assert "202 = 200 unchanged + 2 rejected" in message
    assert "/rejected/" in message


def test_gc_takes_only_what_is_ours(world: World, tmp_path: Path) -> None:
    store = Store(world, tmp_path, folder=".")
    store.add(20)
    assert store.night() == 0
    (tmp_path / "notes.txt").write_text("mine")
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0))
    assert shardrank("gc", str(tmp_path), "--grace", "0", "--delete") == 0
    assert (tmp_path / "notes.txt").exists()
    assert (tmp_path / "corpus.jsonl").exists()
    assert not list((tmp_path / "units").rglob("*.json"))
    assert shardrank("verify", str(tmp_path)) == 0


def test_status_after_gc_says_what_was_finished(store: Store, said: Said) -> None:
    assert shardrank("gc", str(store.index), "--grace", "0", "--delete") == 0
    said()
    assert shardrank("status", str(store.index)) == 0
    told = said()
    for stage in ("scan", "compare", "ingest", "embed"):
        assert re.search(rf" {stage} +([1-9]\d*) +\1 ", told), told
    assert "published" in told
    assert "exit code 0" in told


def test_a_version_whose_files_went_meanwhile_is_not_published(store: Store, said: Said) -> None:
    """As when garbage is collected beside a run in S3, which has no lock."""
    store.edit(5)

    def publish_late(workspace: Any, version: Any) -> Any:
        path = store.index / version.parts[-1].columns["dense"].file.key
        path.unlink()
        return publish(workspace, version)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shardrank.flows.index.publish", publish_late)
        assert store.night() == 1
    assert "was garbage collected meanwhile?" in said()
    assert store.night() == 0
    assert shardrank("verify", str(store.index)) == 0


def test_a_damaged_latest_manifest_can_be_left(store: Store, said: Said) -> None:
    store.edit(5)
    assert store.night() == 0
    latest = store.index / "manifests/000002.json"
    latest.write_bytes(latest.read_bytes().replace(b'"unchanged":195', b'"unchanged":196'))
    assert store.night() == 2
    assert "its checksum is not that of its content" in said()
    assert shardrank("verify", str(store.index), "--version", "1") == 0
    assert shardrank("verify", str(store.index), "--version", "0") == 2
    assert shardrank("versions", str(store.index)) == 0
    assert "its manifest is damaged" in said()
    assert shardrank("gc", str(store.index)) == 2
    assert shardrank("rollback", str(store.index), "1") == 0
    assert store.night() == 0


def test_compaction_keeps_the_audits_settings(store: Store) -> None:
    store.edit(5)
    assert store.night("audit.k=7", "audit.target=0.4") == 0
    model = f"encoder.model={store.world.encoder}"
    assert shardrank("compact", str(store.index), "--set", model) == 0
    audit, made = store.latest().index.audit, store.latest().made
    assert (audit.k, audit.target) == (7, 0.4)
    assert made.set == {"encoder": [{"model": str(store.world.encoder)}]}  # as it was given


def test_what_a_rollback_was_asked_for_by(store: Store) -> None:
    store.edit(5)
    assert store.night() == 0
    assert shardrank("rollback", str(store.index), "1") == 0
    assert store.latest().made.command == f"shardrank rollback {store.index} 1"


def test_a_codec_that_was_sabotaged(world: World, tmp_path: Path, said: Said) -> None:
    """Lists and codes learned from noise find little; the audit says so."""

    train = codec.train_codec

    def noise(sample: Float32, plan: Any) -> bytes:
        rng = np.random.default_rng(0)
        return train(rng.standard_normal(sample.shape).astype(np.float32), plan)

    store = Store(world, tmp_path)
    store.add(450)
    quantised = ("index.kind=ivfpq", "index.pq_bits=4", "index.nlist=4", "passages.max_tokens=16")
    audit = ("audit.k=10", "audit.max_depth=20", "audit.queries=32", "audit.target=0.7")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "train_codec", noise)
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
    changed = f"encoder.model from {store.world.encoder} to {other}"
    assert f"version 000001: 200 documents; changed: {changed}; all 200" in said
    assert "passages are embedded anew; refused without --set gate.reembed=true" in said
    source = (store.root / "corpus.jsonl").stat().st_size
    assert f"source {source / 1e3:.1f} kB in 1 slices" in said
    assert "no shard files" in said
    assert "0.0 MB" not in said
    assert shardrank(*words, "--set", f"encoder.model={store.world.encoder}") == 0
    assert "only new and changed ones are embedded" in " ".join(capsys.readouterr().out.split())
