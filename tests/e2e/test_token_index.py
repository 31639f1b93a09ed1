"""Indexes over token vectors, through nights: hits have the MaxSim of what is stored."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from shardrank.core.late_settings import LateSettings
from shardrank.core.protocols import Codecs
from shardrank.core.token_vectors import TokenVectors
from shardrank.index.query_pooling import pooled_queries
from shardrank.kernels.residual_codes import token_vectors
from shardrank.models.encoders.registry import family_of
from shardrank.version.manifest import Version
from tests.late_models import late_model
from tests.tiny_models import write_json
from tests.world import AUDITED, VOCABULARY, World, latest, make_world, shardrank, write_lines

SETS = (
    *AUDITED,
    "audit.target=0.5",
    "audit.queries=20",
    "audit.max_depth=80",
    "index.late.kind=plaid",
    "index.late.shard_passages=100",
)
LATE = ("retriever.late.index=late",)
DOCUMENTS = 120
#: Of the model: which words keep no vector.
MASK = "2_MultiVectorMask/config.json"
#: More than there are documents, or centroids.
ALL = 1000

pytestmark = pytest.mark.usefixtures("inline")


@dataclass(frozen=True)
class Scene:
    """A world, a model of token vectors, and an index over the codes that it made."""

    world: World
    model: Path
    index: Path

    def copied(self, to: Path) -> Path:
        return Path(shutil.copytree(self.index, to))

    def ranked(self, index: Path, out: Path, *sets: str) -> list[dict[str, Any]]:
        """What a ranking says, by query and rank."""
        assert shardrank(*self.world.rank(index, out, *SETS, *sets)) == 0
        order = [("query_id", "ascending"), ("rank", "ascending")]
        return pq.read_table(out / "rankings").sort_by(order).to_pylist()


def column_of(model: Path, stored: str) -> tuple[str, ...]:
    given = ("family=late", f"model={model}", f"stored={stored}", "dtype=fp32")
    return tuple(f"encoder.late.{each}" for each in given)


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: pytest.MonkeyPatch
) -> Scene:
    root = tmp_path_factory.mktemp("tokens")
    world = make_world(root, models, DOCUMENTS, queries=6)
    found = Scene(world, late_model(root / "late", "st-bert"), root / "index")
    assert shardrank(*world.index(found.index, *SETS, *column_of(found.model, "4"))) == 0
    return found


def by_hand(scene: Scene, index: Path, pool: float = 1) -> dict[tuple[str, str], float]:
    """MaxSim of each query and live document's best passage, in float64."""
    version = latest(index)
    settings = LateSettings(model=str(scene.model), stored="4", dtype="fp32")
    codec = (index / _codec(version)).read_bytes()
    family = family_of(settings)
    encoder = family.load(settings, "cpu", family.read(settings, None), Codecs(codec))
    asked = scene.world.rows("queries")
    whole = TokenVectors.of(encoder.queries(pa.array([row["text"] for row in asked])))
    queries = pooled_queries(whole, pool)
    found: dict[tuple[str, str], float] = {}
    for part in version.parts:
        assert part.deleted is None
        stored = pq.read_table(index / part.columns["late"].file.key)["vector"]
        passages, row = token_vectors(stored, codec), 0
        for key in pq.read_table(index / part.keys.key).sort_by("row").to_pylist():
            for _ in range(key["rows"]):
                own = passages.text(row).astype(np.float64)
                for number, query in enumerate(asked):
                    score = float((queries.text(number) @ own.T).max(axis=1).sum())
                    pair = (query["_id"], key["doc_id"])
                    found[pair] = max(score, found.get(pair, -np.inf))
                row += 1
    return found


def _codec(version: Version) -> str:
    codec = version.columns["late"].codec
    assert codec
    return codec.key


def test_what_a_version_holds(scene: Scene) -> None:
    version = latest(scene.index)
    index, codec = version.indexes["late"], version.columns["late"].codec
    assert index.plan.kind == "plaid"
    assert index.codec
    assert index.codec.file == codec
    assert len(index.shards) > 1
    assert all(shard.file for shard in index.shards)
    points = index.audit.points
    assert {point.depth for point in points} == {5, 10, 20, 40, 80}
    deepest = [point.recall for point in points if point.depth == 80]
    assert deepest == sorted(deepest)
    assert index.audit.recall >= 0.5


def test_hits_have_the_maxsim_of_what_is_stored(scene: Scene, tmp_path: Path) -> None:
    """Those of exact search, and those of centroids where all are probed and all refined."""
    wanted = by_hand(scene, scene.index)
    everything = (f"retriever.late.nprobe={ALL}", f"retriever.late.depth={ALL}")
    probed = scene.ranked(scene.index, tmp_path / "probed", *LATE, *everything)
    for row in probed:
        pair = (row["query_id"], row["doc_id"])
        assert row["retrieval_score"] == pytest.approx(wanted[pair], abs=1e-4)
    for query in {row["query_id"] for row in probed}:
        scores = sorted((s for (q, _), s in wanted.items() if q == query), reverse=True)[:10]
        mine = [row["retrieval_score"] for row in probed if row["query_id"] == query]
        assert mine == pytest.approx(scores, abs=1e-4)
    exact = scene.copied(tmp_path / "index")
    kind = "index.late.kind=exact"
    assert shardrank(*scene.world.index(exact, *SETS, kind, "index.late.shard_passages=100")) == 0
    assert latest(exact).indexes["late"].plan.kind == "maxsim"
    assert scene.ranked(exact, tmp_path / "exact", *LATE) == probed


def test_queries_of_fewer_vectors(scene: Scene, tmp_path: Path) -> None:
    wanted, told = by_hand(scene, scene.index, pool=2), "retriever.late.query_pool=2"
    everything = (f"retriever.late.nprobe={ALL}", f"retriever.late.depth={ALL}")
    found = scene.ranked(scene.index, tmp_path / "out", *LATE, *everything, told)
    for row in found:
        pair = (row["query_id"], row["doc_id"])
        assert row["retrieval_score"] == pytest.approx(wanted[pair], abs=1e-4)
    run = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [each["query_pool"] for each in run["retrievers"]] == [2]


def test_nights(scene: Scene, tmp_path: Path) -> None:
    """What is deleted is not found; shards stay until they are folded, and what is found stays."""
    index = scene.copied(tmp_path / "index")
    everything = (*LATE, f"retriever.late.nprobe={ALL}", f"retriever.late.depth={ALL}")
    before = scene.ranked(index, tmp_path / "before", *everything)
    first = {str(row["doc_id"]) for row in before if row["rank"] == 1}
    gone = ({"_id": each, "deleted": True} for each in sorted(first))
    night = write_lines(tmp_path / "night.jsonl", gone)
    words = scene.world.index(index, *SETS, "corpus.tombstone=deleted")
    assert shardrank("index", str(night), *words[2:], "--mode", "upsert") == 0
    old, new = (version.indexes["late"].shards for version in (latest(scene.index), latest(index)))
    assert {each.file for each in old} == {each.file for each in new}
    after = scene.ranked(index, tmp_path / "after", *everything)
    assert first.isdisjoint(str(row["doc_id"]) for row in after)
    kept = {(row["query_id"], row["doc_id"]): row["retrieval_score"] for row in before}
    again = {(row["query_id"], row["doc_id"]): row["retrieval_score"] for row in after}
    assert all(again[pair] == kept[pair] for pair in kept.keys() & again.keys())
    model = ("--set", f"encoder.model={scene.world.encoder}")
    assert shardrank("compact", str(index), *model) == 0
    assert scene.ranked(index, tmp_path / "compacted", *everything) == after
    assert shardrank("verify", str(index)) == 0


def test_real_queries_of_the_audit(scene: Scene, tmp_path: Path) -> None:
    index = scene.copied(tmp_path / "index")
    file = f"audit.query_file={scene.world.queries}"
    assert shardrank(*scene.world.index(index, *SETS, file)) == 0
    assert latest(index).indexes["late"].audit.questions == 6


def test_passages_that_keep_no_token(scene: Scene, tmp_path: Path) -> None:
    """They are stored, counted and verified, and found by no token vectors."""
    model, skipped = Path(shutil.copytree(scene.model, tmp_path / "model")), VOCABULARY[:4]
    write_json(model / MASK, {"skiplist_words": ["[CLS]", "[SEP]", "[D] ", *skipped]})
    rows = scene.world.rows("corpus")[:70]
    rows += [{"_id": f"empty{n}", "text": " ".join(skipped)} for n in range(20)]
    whole = [each.replace("encoder.late", "encoder.whole") for each in column_of(model, "fp16")]
    derived = ("encoder.muvera.family=muvera", "encoder.muvera.repetitions=2")
    sets = (*SETS, *column_of(model, "4"), *whole, "index.whole.kind=exact", *derived)
    words = scene.world.index(tmp_path / "index", *sets)
    words[1] = write_lines(tmp_path / "corpus.jsonl", rows)
    assert shardrank(*words) == 0
    assert shardrank("verify", str(tmp_path / "index")) == 0
    version = latest(tmp_path / "index")
    assert version.live.documents == 90
    files = [part.columns["whole"].file.key for part in version.parts]
    stored = [row for key in files for row in pq.read_table(tmp_path / "index" / key)["vector"]]
    assert [len(row) for row in stored].count(0) == 20
    everything = (f"retriever.late.nprobe={ALL}", f"retriever.late.depth={ALL}", f"search.k={ALL}")
    for name, more in (("late", everything), ("whole", everything[2:])):
        told = (f"retriever.{name}.index={name}", *more)
        found = scene.ranked(tmp_path / "index", tmp_path / name, *told)
        ids = {str(row["doc_id"]) for row in found}
        assert len(ids) > 50
        assert not any(each.startswith("empty") for each in ids)


def test_a_model_whose_numbers_are_none(scene: Scene, tmp_path: Path, capsys: Any) -> None:
    model = Path(shutil.copytree(scene.model, tmp_path / "model"))
    vocabulary = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    weights = load_file(model / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][vocabulary[VOCABULARY[0]]] = float("nan")
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    sets = (*SETS, *column_of(model, "4"))
    assert shardrank(*scene.world.index(tmp_path / "index", *sets)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "gives numbers that are NaN or infinite for" in said
    assert "passages of a part" in said


@pytest.mark.parametrize(
    ("stored", "more", "said"),
    [
        ("fp16", (), "stores token vectors as fp16, without centroids"),
        ("4", ("index.late.kind=ivfpq",), "holds token vectors"),
        ("4", ("index.late.nlist=4",), "index.late.nlist is of dense vectors"),
        ("4", ("index.late.shard_passages=8",), "Raise index.shard_passages"),
        ("4", ("index.kind=plaid",), "holds no token vectors"),
    ],
)
def test_what_is_refused(
    scene: Scene, stored: str, more: tuple[str, ...], said: str, tmp_path: Path, capsys: Any
) -> None:
    sets = (*SETS, *column_of(scene.model, stored), *more)
    assert shardrank(*scene.world.index(tmp_path / "index", *sets)) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("wanted", ["hubness=20", "feedback=3", "k1=1.5"])
def test_what_a_retriever_has_not(scene: Scene, wanted: str, tmp_path: Path, capsys: Any) -> None:
    given = (*LATE, f"retriever.late.{wanted}")
    assert shardrank(*scene.world.rank(scene.index, tmp_path / "out", *SETS, *given)) == 2
    assert f"sets {wanted.split('=')[0]}" in " ".join(capsys.readouterr().err.split())
