"""Another encoder takes over night by night: what it has not embedded is served through a map."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.arrow_columns import matrix, vector_column
from shardrank.core.reranker_settings import CrossSettings
from shardrank.core.settings import S3Settings
from shardrank.models.cards import read_reranker_card
from shardrank.models.encoders.texts import TextVectors
from shardrank.stages.rank.rerank_plan import stored_tokens_serve
from shardrank.storage import S3Storage
from shardrank.version.manifest import Version
from shardrank.version.mapped import is_mapped, mapped_documents
from tests.stores import KINDS, endpoint_of, new_bucket
from tests.tiny_models import tiny_encoder
from tests.world import (
    World,
    latest,
    make_world,
    shardrank,
    snapshot,
    snapshot_of,
    versions,
    write_lines,
)

DOCUMENTS = 240
SETS = (
    "passages.overlap=0",
    "passages.part_size=40",
    "passages.max_tokens=32",
    "index.kind=exact",
    "gate.max_deleted=0.2",
    "gate.max_changed=0.1",
    "reranker.model=off",
)
#: Random models agree about little.
BACKFILL = ("backfill.share=0.5", "backfill.sample=240", "backfill.target=0.05")

pytestmark = pytest.mark.usefixtures("inline")


@dataclass(frozen=True)
class Scene:
    """A world, an index by its encoder, and another encoder: other tokens, more components."""

    world: World
    index: Path
    other: Path

    def copied(self, to: Path) -> "Scene":
        """Of the corpus and the index, which tests change."""
        root = to / "world"
        shutil.copytree(self.world.root, root, ignore=shutil.ignore_patterns("index"))
        world = World(root, self.world.encoder, self.world.reranker)
        return Scene(world, Path(shutil.copytree(self.index, to / "index")), self.other)

    def night(self, *sets: str, model: Path | None = None) -> int:
        """A snapshot by the other encoder."""
        asked = (*SETS, *sets, f"encoder.model={model or self.other}")
        return shardrank(*self.world.index(self.index, *asked))

    def edit(self, **texts: str | None) -> None:
        """Add or change documents; none: leave them out."""
        rows = {row["_id"]: row for row in self.world.rows("corpus")}
        rows |= {doc: {"_id": doc, "text": text} for doc, text in texts.items() if text}
        kept = (row for doc, row in rows.items() if texts.get(doc, "") is not None)
        write_lines(Path(self.world.corpus), kept)


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: pytest.MonkeyPatch
) -> Scene:
    root = tmp_path_factory.mktemp("backfill")
    inline.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
    world = make_world(root, models, DOCUMENTS, queries=4)
    other = tiny_encoder(tmp_path_factory.mktemp("other"), "roberta-cls", dim=32)
    assert shardrank(*world.index(root / "index", *SETS)) == 0
    return Scene(world, root / "index", other)


@pytest.fixture
def mine(scene: Scene, tmp_path: Path) -> Scene:
    return scene.copied(tmp_path)


def stored(index: Path, version: Version) -> dict[tuple[str, int], bytes]:
    """The vector of each live passage, by its document and number."""
    found = {}
    for part in version.parts:
        passages = pq.read_table(index / part.passages.key, columns=["doc_id", "passage"])
        vectors = matrix(pq.read_table(index / part.columns["dense"].file.key)["vector"])
        dead = np.zeros(part.rows, bool)
        if part.deleted:
            bits = np.frombuffer((index / part.deleted.key).read_bytes(), np.uint8)
            dead = np.unpackbits(bits, bitorder="little")[: part.rows].astype(bool)
        rows = zip(passages.to_pylist(), vectors, dead, strict=True)
        found |= {(r["doc_id"], r["passage"]): v.tobytes() for r, v, gone in rows if not gone}
    return found


def rebuilt(scene: Scene, folder: Path) -> dict[tuple[str, int], bytes]:
    """What a new index by the other encoder holds."""
    asked = (*SETS, f"encoder.model={scene.other}")
    assert shardrank(*scene.world.index(folder, *asked)) == 0
    return stored(folder, latest(folder))


def told(capsys: pytest.CaptureFixture[str]) -> str:
    found = capsys.readouterr()
    return " ".join((found.out + found.err).split())


def test_nights_until_all_is_embedded(
    mine: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = mine.index
    before = latest(index)
    mine.edit(new="wing flow heat", d0000=None, d0001="another text of the wing")
    assert shardrank("plan", *mine.world.index(index, *SETS, *BACKFILL, *_model(mine))) == 0
    said = told(capsys)
    assert "are served through a map that is learnt of up to 240 passages" in said
    assert mine.night(*BACKFILL) == 0
    first, said = latest(index), told(capsys)
    assert first.mapped
    assert first.mapped.before == before.dense.card
    left = mapped_documents(first.parts)
    assert f"{left:,} of {DOCUMENTS:,} documents" in said
    assert 0.3 * DOCUMENTS < left <= 0.5 * DOCUMENTS
    assert first.changes.backfilled == DOCUMENTS - 2 - left, "but for the changed and the deleted"
    assert (first.changes.added, first.changes.deleted) == (1, 1)
    native = sum(part.live.passages for part in first.parts if not is_mapped(part))
    assert first.changes.embedded == native
    assert shardrank("verify", str(index)) == 0
    assert _ranks(mine, tmp_path / "half") == 0

    assert mine.night() == 0, "which goes on as it began"
    last = latest(index)
    assert (last.mapped, last.changes.backfilled) == (None, left)
    assert not any(is_mapped(part) for part in last.parts)
    assert stored(index, last) == rebuilt(mine, tmp_path / "rebuilt")
    assert shardrank("verify", str(index)) == 0
    assert mine.night() == 0
    assert latest(index) == last, "nothing is left to do"


def _model(scene: Scene) -> tuple[str]:
    return (f"encoder.model={scene.other}",)


def _ranks(scene: Scene, out: Path) -> int:
    return shardrank(*scene.world.rank(scene.index, out, *_model(scene)))


def test_what_is_mapped_stays_in_compaction_and_rollback(mine: Scene) -> None:
    index, quiet = mine.index, ("backfill.share=0", *BACKFILL[1:])
    assert mine.night(*quiet) == 0
    whole = latest(index)
    assert (whole.changes.embedded, mapped_documents(whole.parts)) == (0, DOCUMENTS)
    assert (whole.dense.card.dim, {p.columns["dense"].mapped for p in whole.parts}) == (32, {True})
    mine.edit(**{f"d{n:04d}": None for n in range(12)}, new="flow of heat")
    assert mine.night() == 0
    some = stored(index, latest(index))
    assert shardrank("compact", str(index)) == 0
    after = latest(index)
    assert not any(part.deleted for part in after.parts)
    assert stored(index, after) == some
    assert mapped_documents(after.parts) == DOCUMENTS - 12
    assert after.mapped == whole.mapped
    assert shardrank("verify", str(index)) == 0
    assert shardrank("rollback", str(index), "2") == 0
    assert latest(index).content() == whole.content()
    assert shardrank("rollback", str(index), "1") == 0
    assert (latest(index).mapped, latest(index).dense.card.dim) == (None, 16)


def test_an_upsert_embeds_no_old_document(mine: Scene) -> None:
    write_lines(mine.world.root / "more.jsonl", [{"_id": "new", "text": "one more wing"}])
    words = [w for s in (*SETS, *BACKFILL, *_model(mine)) for w in ("--set", s)]
    more = str(mine.world.root / "more.jsonl")
    assert shardrank("index", more, str(mine.index), "--mode", "upsert", *words) == 0
    found = latest(mine.index)
    assert (found.changes.embedded, mapped_documents(found.parts)) == (1, DOCUMENTS)


def test_an_upsert_cannot_embed_what_it_does_not_hold(
    mine: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused where it would begin, and goes on whatever the share is."""
    write_lines(mine.world.root / "more.jsonl", [{"_id": "new", "text": "one more wing"}])
    words = ["index", str(mine.world.root / "more.jsonl"), str(mine.index), "--mode", "upsert"]
    words += [w for s in (*SETS, *_model(mine)) for w in ("--set", s)]
    assert shardrank(*words, "--set", "backfill.share=1") == 2
    assert "an upsert does not hold the documents that it lacks" in told(capsys)
    assert mine.night(*BACKFILL) == 0
    assert shardrank(*words, "--set", "backfill.share=1") == 0
    assert latest(mine.index).mapped


def test_a_killed_night_goes_on(mine: Scene, inline: pytest.MonkeyPatch, tmp_path: Path) -> None:
    twin = mine.copied(tmp_path / "twin")
    assert twin.night(*BACKFILL) == 0
    for stopped in ("with_mapped", "assemble"):
        with inline.context() as patch:
            patch.setattr(f"shardrank.flows.index.{stopped}", _stop)
            assert mine.night(*BACKFILL) != 0
    assert mine.night(*BACKFILL) == 0
    assert versions(mine.index) == versions(twin.index)


def _stop(*args: Any, **kwargs: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("kind", KINDS)
def test_s3(
    mine: Scene, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nights, the second of which embeds what is left."""
    endpoint = endpoint_of(kind, request, monkeypatch)
    index, old = f"s3://{new_bucket(endpoint)}/index", f"encoder.model={mine.world.encoder}"
    s3, new = f"s3.endpoint={endpoint}", f"encoder.model={mine.other}"
    assert shardrank(*mine.world.index(index, *SETS, s3, old)) == 0
    stored = S3Storage(index, S3Settings(endpoint=endpoint))
    for _ in range(2):
        assert shardrank(*mine.world.index(index, *SETS, *BACKFILL, s3, new)) == 0
        assert mine.night(*BACKFILL) == 0
        assert snapshot_of(stored) == snapshot(mine.index)
    assert len(versions(mine.index)) == 3


def test_what_is_refused(mine: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert mine.night("backfill.share=0.5", "backfill.sample=240", "backfill.target=1") == 3
    assert "below backfill.target 1; nothing was published" in told(capsys)
    assert not list((mine.index / "units" / "embed_map").glob("*.json")), (
        "a mended encoder is asked"
    )
    assert not _embedded(mine.index, "embed", of=latest(mine.index)), "before it costs anything"
    assert mine.night() == 3
    assert "Another first encoder can take over night by night" in told(capsys)
    assert mine.night(*BACKFILL) == 0
    capsys.readouterr()
    third = mine.world.encoder
    assert mine.night(model=third) == 2
    assert "there is no map of two encoders at once" in told(capsys)
    assert mine.night("backfill.share=1", model=third) == 0
    found = latest(mine.index)
    assert (found.mapped, found.dense.card.dim) == (None, 16)
    assert found.changes.backfilled == DOCUMENTS


def _embedded(index: Path, stage: str, of: Version) -> list[str]:
    """Parts that a stage's markers name, beside the version's."""
    markers = (index / "units" / stage).glob("*.json")
    made = {json.loads(m.read_text())["made"]["part"]["id"] for m in markers}
    return sorted(made - {part.id for part in of.parts})


def test_too_few_passages(
    models: tuple[Path, Path], scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = Scene(make_world(tmp_path, models, 20, queries=1), tmp_path / "index", scene.other)
    assert shardrank(*few.world.index(few.index, *SETS)) == 0
    assert few.night(*BACKFILL, "backfill.share=0") == 2
    assert "160 are needed" in told(capsys)


def test_columns_beside_the_first(mine: Scene, tmp_path: Path) -> None:
    index = mine.index
    further = (
        "encoder.words.family=bm25",
        "encoder.map.family=bits",  # a name that stages of the map have, too
        "encoder.map.rotation=random",
        "audit.k=5",
        "audit.target=0",
    )
    old = f"encoder.model={mine.world.encoder}"
    assert shardrank(*mine.world.index(index, *SETS, *further, old)) == 0
    before = latest(index)
    assert mine.night(*BACKFILL) == 0
    after = latest(index)
    assert after.columns["words"] == before.columns["words"], "texts are the same"
    assert after.columns["map"].codec != before.columns["map"].codec, "vectors are not"
    assert shardrank("verify", str(index)) == 0
    assert _ranks(mine, tmp_path / "out") == 0
    assert mine.night() == 0
    last = latest(index)
    assert last.mapped is None
    assert last.columns["map"].codec != after.columns["map"].codec, "no vector is mapped now"
    assert last.columns["words"] == before.columns["words"]
    assert shardrank("verify", str(index)) == 0


def test_the_last_mapped_documents_go_before_their_turn(mine: Scene) -> None:
    """What was learnt of mapped vectors is learnt again then, too."""
    index, old = mine.index, f"encoder.model={mine.world.encoder}"
    bits = ("encoder.bits.family=bits", "encoder.bits.rotation=random", "audit.target=0")
    bits = (*bits, "audit.k=5")
    assert shardrank(*mine.world.index(index, *SETS, *bits, old)) == 0
    assert mine.night(*BACKFILL) == 0
    half = latest(index)
    served = [part for part in half.parts if is_mapped(part)]
    tables = [pq.read_table(index / part.keys.key, columns=["doc_id"]) for part in served]
    gone = {doc: None for table in tables for doc in table["doc_id"].to_pylist()}
    mine.edit(**gone)
    assert mine.night("gate.max_deleted=1", "gate.max_change=1", "backfill.share=0") == 0
    last = latest(index)
    assert (last.mapped, last.changes.backfilled) == (None, 0)
    assert last.live.documents == DOCUMENTS - len(gone)
    assert last.columns["bits"].codec != half.columns["bits"].codec
    assert shardrank("verify", str(index)) == 0
    assert mine.night() == 0
    assert latest(index) == last, "nothing is left to do"


def _with_nan(every: int) -> Any:
    """`TextVectors.column`, but that of so many passages one has no finite vector."""
    whole = TextVectors.column

    def column(self: TextVectors, read: pa.Array) -> pa.Array:
        vectors = matrix(pa.chunked_array([whole(self, read)])).copy()
        vectors[::every, 3] = np.nan
        return vector_column(vectors)

    return column


def test_passages_of_the_sample_without_a_vector_are_counted(
    mine: Scene, inline: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with inline.context() as patch:
        patch.setattr(TextVectors, "column", _with_nan(every=50))
        assert mine.night("backfill.share=0", *BACKFILL[1:]) == 0
    mapped, said = latest(mine.index).mapped, told(capsys)
    assert mapped
    [marker] = (mine.index / "units" / "embed_map").glob("*.json")
    counts = json.loads(marker.read_text())["counts"]
    assert counts == {"rows": 240, "not_finite": 5}
    assert (mapped.map.rows, mapped.not_finite) == (235, 5)
    assert "5 of its sample not_finite" in said
    assert mapped_documents(latest(mine.index).parts) == DOCUMENTS, "they are served as before"


def test_an_encoder_that_gives_nothing_finite_is_refused(
    mine: Scene, inline: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with inline.context() as patch:
        patch.setattr(TextVectors, "column", _with_nan(every=1))
        assert mine.night(*BACKFILL) == 2
    assert "those of all 240 passages of a sample are NaN or infinite" in told(capsys)
    assert not list((mine.index / "units" / "embed_map").glob("*.json"))
    assert mine.night(*BACKFILL) == 0, "by the mended encoder"


def test_a_codec_of_old_vectors_is_not_kept(mine: Scene) -> None:
    index, old = mine.index, f"encoder.model={mine.world.encoder}"
    kind = ("index.kind=ivfsq8", "index.nlist=4", "audit.k=5", "audit.target=0")
    assert shardrank(*mine.world.index(index, *SETS, *kind, old)) == 0
    before = latest(index).index
    assert mine.night(*kind, *BACKFILL) == 0
    first = latest(index).index
    assert before.codec
    assert first.codec
    assert first.codec.file != before.codec.file
    assert not {s.file for s in first.shards} & {s.file for s in before.shards}
    assert mine.night() == 0
    assert latest(index).mapped is None
    assert shardrank("verify", str(index)) == 0


def test_a_reranker_reads_no_tokens_of_the_old_encoder(mine: Scene, tmp_path: Path) -> None:
    card = CrossSettings.model_validate({"model": str(mine.world.reranker)})
    reranker = read_reranker_card(card)
    assert stored_tokens_serve(latest(mine.index), reranker), "one tokeniser, nothing cut"
    again = tiny_encoder(tmp_path / "again", "bert", dim=32)
    assert mine.night(*BACKFILL, model=again) == 0
    assert not stored_tokens_serve(latest(mine.index), reranker)
