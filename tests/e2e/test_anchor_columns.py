"""A cross-encoder as an index through whole flows: made, ranked by, kept at night, refused."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.anchor_settings import AnchorSettings
from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.cards import AnchorCard
from shardrank.core.text import passage_text
from shardrank.models.encoders.anchor_codec import AnchorCodec
from shardrank.models.encoders.anchors import AnchorScores, load_anchors
from shardrank.stages.run.workspace import Workspace
from shardrank.storage.local import LocalStorage
from shardrank.version.manifest import Version
from tests.world import SMALL_PARTS, World, codec_of, latest, make_world, shardrank, write_lines

SETS = (*SMALL_PARTS, "search.k=12")
QUERIES, PASSAGES = 6, 10

pytestmark = pytest.mark.usefixtures("inline")


@dataclass(frozen=True)
class Scene:
    """A world, and an index with a column of its reranker's scores."""

    world: World
    index: Path

    @property
    def sets(self) -> tuple[str, ...]:
        return (*SETS, *anchors(self.world))


def anchors(world: World, *more: str) -> list[str]:
    counts = (f"anchor_queries={QUERIES}", f"anchor_passages={PASSAGES}")
    given = ("family=anchors", f"model={world.reranker}", *counts, *more)
    return [f"encoder.anchors.{each}" for each in given]


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: pytest.MonkeyPatch
) -> Scene:
    root = tmp_path_factory.mktemp("anchors")
    inline.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
    found = Scene(make_world(root, models, 30, queries=6), root / "index")
    assert shardrank(*found.world.index(found.index, *found.sets)) == 0
    return found


def learnt(index: Path, version: Version) -> bytes:
    found = codec_of(index, version, "anchors")
    assert found is not None
    return found


def encoder_of(scene: Scene, index: Path) -> AnchorScores:
    version = latest(index)
    made = version.columns["anchors"]
    assert isinstance(made.settings, AnchorSettings)
    assert isinstance(made.card, AnchorCard)
    return load_anchors(made.settings, "cpu", made.card, learnt(index, version))


def columns(index: Path) -> tuple[list[str], list[str], Float32]:
    """Of all live passages: their documents, their texts, their scores."""
    workspace, version = Workspace(LocalStorage(str(index))), latest(index)
    documents, texts, scores = [], [], []
    for part in version.parts:
        assert part.deleted is None
        table = workspace.read_table(part.passages, ["doc_id", "title", "text"])
        documents += table["doc_id"].to_pylist()
        both = zip(table["title"].to_pylist(), table["text"].to_pylist(), strict=True)
        texts += [passage_text(*each) for each in both]
        scores.append(
            matrix(workspace.read_table(part.columns["anchors"].file, ["vector"])["vector"])
        )
    return documents, texts, np.concatenate(scores)


def test_a_column_is_the_scores_with_the_anchor_queries(scene: Scene) -> None:
    version = latest(scene.index)
    codec = AnchorCodec.of(learnt(scene.index, version))
    assert (len(codec.queries), len(codec.passages)) == (QUERIES, PASSAGES)
    assert (version.dim("anchors"), version.indexes["anchors"].plan.kind) == (QUERIES, "exact")
    _, texts, scores = columns(scene.index)
    assert {*codec.passages} < {*texts}
    expected = encoder_of(scene, scene.index).column(pa.array(texts))
    np.testing.assert_allclose(scores, matrix(pa.chunked_array([expected])), rtol=2e-3, atol=1e-4)
    assert shardrank("verify", str(scene.index)) == 0


def test_hits_are_the_largest_products(scene: Scene, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = scene.world.rank(scene.index, out, *SETS, "retriever.anchors.k=12")
    assert shardrank(*words) == 0
    documents, _, scores = columns(scene.index)
    asked = [row["text"] for row in scene.world.rows("queries")]
    made = encoder_of(scene, scene.index).queries(pa.array(asked))
    products = matrix(pa.chunked_array([made])) @ scores.T
    rows = pq.read_table(out / "rankings").to_pylist()
    for query, mine in zip(scene.world.rows("queries"), products, strict=True):
        best: dict[str, float] = {}
        for document, product in zip(documents, mine.tolist(), strict=True):
            best[document] = max(product, best.get(document, -np.inf))
        found = {r["doc_id"]: r["retrieval_score"] for r in rows if r["query_id"] == query["_id"]}
        wanted = sorted(best.values(), reverse=True)[:12]
        assert sorted(found.values(), reverse=True) == pytest.approx(wanted, rel=1e-3, abs=1e-4)
        assert found == pytest.approx({d: best[d] for d in found}, rel=1e-3, abs=1e-4)


def test_the_same_again_gives_the_same_bytes(scene: Scene, tmp_path: Path) -> None:
    assert shardrank(*scene.world.index(tmp_path / "again", *scene.sets)) == 0
    assert latest(tmp_path / "again").content() == latest(scene.index).content()


def test_a_night_keeps_the_anchors_and_scores_what_is_new(scene: Scene, tmp_path: Path) -> None:
    index = Path(shutil.copytree(scene.index, tmp_path / "index"))
    before = latest(index)
    rows = scene.world.rows("corpus")
    rows += [{"_id": f"new{n}", "text": "shock tube of the wing"} for n in range(5)]
    words = scene.world.index(index, *SETS)
    words[1] = write_lines(tmp_path / "night.jsonl", rows)
    assert shardrank(*words) == 0
    after = latest(index)
    assert after.columns["anchors"] == before.columns["anchors"]
    held = {part.columns["anchors"].file for part in before.parts}
    now = {part.columns["anchors"].file for part in after.parts}
    assert held & now
    assert now - held
    documents, _, scores = columns(index)
    new = scores[[document.startswith("new") for document in documents]]
    assert len({row.tobytes() for row in new}) == 1
    assert shardrank("verify", str(index)) == 0


def test_queries_of_a_file_are_the_anchors(scene: Scene, tmp_path: Path) -> None:
    asked = Path(shutil.copy(scene.world.queries, tmp_path / "asked.jsonl"))
    sets = [*SETS, *anchors(scene.world, f"queries={asked}")]
    index = tmp_path / "index"
    assert shardrank(*scene.world.index(index, *sets)) == 0
    codec = AnchorCodec.of(learnt(index, latest(index)))
    assert {*codec.queries} <= {row["text"] for row in scene.world.rows("queries")}
    card = latest(index).columns["anchors"].card
    asked.write_text(asked.read_text() + '{"_id": "more", "text": "heat of the plate"}\n')
    assert shardrank(*scene.world.index(index, *SETS)) == 3
    assert shardrank(*scene.world.index(index, *SETS, "gate.reembed=true")) == 0
    assert latest(index).columns["anchors"].card.fingerprint != card.fingerprint
    asked.unlink()
    assert shardrank(*scene.world.index(index, *SETS)) == 0
    out = tmp_path / "out"
    assert shardrank(*scene.world.rank(index, out, *SETS)) == 0  # the anchors are in the index


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("anchor_queries=7", "wants 7 queries, and .* holds 6 different ones"),
        ("queries=/no/such/file.jsonl", "of anchor queries cannot be read"),
        ("model=ENCODER", "cross-encoder"),
    ],
)
def test_what_cannot_serve_is_refused_before_any_stage(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, said: str
) -> None:
    more = more.replace("ENCODER", str(scene.world.encoder))
    sets = [*SETS, *anchors(scene.world, f"queries={scene.world.queries}", more)]
    index = tmp_path / "index"
    assert shardrank(*scene.world.index(index, *sets)) == 2
    assert re.search(said, capsys.readouterr().err)
    assert not (index / "units").exists()


def test_an_empty_file_of_queries_is_refused(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = write_lines(tmp_path / "asked.jsonl", [{"_id": "q", "text": ""}])
    sets = [*SETS, *anchors(scene.world, f"queries={asked}")]
    assert shardrank(*scene.world.index(tmp_path / "index", *sets)) == 2
    assert "holds no usable query" in capsys.readouterr().err


def test_more_anchors_than_passages_are_refused(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [*SETS, *anchors(scene.world, "anchor_passages=5000")]
    assert shardrank(*scene.world.index(tmp_path / "index", *sets)) != 0
    assert "anchor_passages = 5,000" in capsys.readouterr().err


def test_an_ivf_index_is_audited_with_the_anchor_queries(scene: Scene, tmp_path: Path) -> None:
    sets = [*scene.sets, "index.anchors.kind=ivfsq8", "index.anchors.nlist=1", "audit.k=5"]
    assert shardrank(*scene.world.index(tmp_path / "index", *sets)) == 0
    found = latest(tmp_path / "index").indexes["anchors"]
    assert (found.plan.kind, found.audit.questions) == ("ivfsq8", QUERIES)
    assert found.audit.recall >= 0.95
