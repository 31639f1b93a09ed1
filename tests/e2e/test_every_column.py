"""A version with a column of every family under every kind of index (tests/every_column.py) through
nights, deletions, folds, compaction, rollback, ended runs, threads, S3 and damage."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.arrays import Float64
from shardrank.core.fingerprint import content_hash
from shardrank.core.model_settings import COLUMN_TABLES
from shardrank.core.papers import files_in
from shardrank.core.settings import S3Settings
from shardrank.core.token_vectors import TokenVectors
from shardrank.core.written import Beside
from shardrank.flows.verify import verify
from shardrank.kernels.residual_codes import token_vectors
from shardrank.models.encoders.expanded import expanded
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import open_version
from shardrank.storage import S3Storage
from shardrank.storage.local import LocalStorage
from tests.e2e.test_nights import live_documents
from tests.ending import Counter, Killed, counted
from tests.every_column import (
    ALL,
    COLUMNS,
    SEARCHED,
    SETS,
    Stored,
    columns_of,
    few_to_train_on,
    live_pictures,
    picture_of,
    pictured_world,
    plain,
    retrievers,
    terms_of,
    with_pictures,
)
from tests.hybrid import Bm25Oracle, words
from tests.stores import KINDS, endpoint_of, new_bucket
from tests.world import World, latest, make_world, shardrank, snapshot, snapshot_of, write_lines

DOCUMENTS, QUERIES, K = 40, 4, 10
OFF = "reranker.model=off"
TWO = ("cluster.cpus=2", "cluster.actors=2")

pytestmark = pytest.mark.usefixtures("inline")


@dataclass(frozen=True)
class Scene:
    """A world, the documents of two nights, and what settings make every column."""

    root: Path
    world: World
    nights: tuple[dict[str, str], ...]
    columns: tuple[str, ...]

    def night(self, number: int, index: Path | str, *sets: str) -> None:
        """Index the documents of a night."""
        words = self.world.index(index, *SETS, *self.columns, OFF, *sets)
        words[1] = str(self.root / f"night{number}.parquet")
        assert shardrank(*words) == 0

    def rank(self, index: Path | str, out: Path | str, *sets: str) -> None:
        """By a retriever over each index."""
        assert shardrank(*self.world.rank(index, out, *SETS, OFF, *retrievers(), *sets)) == 0

    @property
    def asked(self) -> list[str]:
        return [row["text"] for row in self.world.rows("queries")]


@pytest.fixture(scope="module", autouse=True)
def _few(inline: pytest.MonkeyPatch) -> None:
    few_to_train_on(inline)
    for report in ("report.write_report", "label_report.write_label_report"):
        inline.setattr(f"shardrank.flows.{report}", lambda *given: None)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], _few: None) -> Scene:
    root = tmp_path_factory.mktemp("every")
    world = pictured_world(make_world(root / "world", models, DOCUMENTS, QUERIES))
    nights = two_nights({row["_id"]: row["text"] for row in world.rows("corpus")})
    for number, texts in enumerate(nights, 1):
        rows = ({"_id": doc_id, "text": text} for doc_id, text in texts.items())
        with_pictures(write_lines(root / f"night{number}.jsonl", rows))
    return Scene(root, world, nights, columns_of(root, world))


def two_nights(first: dict[str, str]) -> tuple[dict[str, str], ...]:
    """The second changes some, brings some, and deletes others: all that were last, so that most of
    their part goes, and some here and there."""
    ids = sorted(first)
    second = {d: text for n, (d, text) in enumerate(first.items()) if n < 34 and n % 9 != 4}
    for doc_id in ids[1:30:8]:
        second[doc_id] += " nozzle flutter panel"
    second |= {f"new{n}": f"{first[ids[n]]} shock tube wing" for n in range(6)}
    return first, second


@pytest.fixture(scope="module")
def first(scene: Scene) -> Stored:
    """After the first night."""
    made = Stored(scene.root / "first", scene.root / "first-out")
    scene.night(1, made.index, *TWO)
    scene.rank(made.index, made.out, *TWO)
    return made


@pytest.fixture(scope="module")
def second(scene: Scene, first: Stored) -> Stored:
    """After the second night."""
    made = Stored(scene.root / "second", scene.root / "second-out")
    shutil.copytree(first.index, made.index)
    scene.night(2, made.index, *TWO)
    scene.rank(made.index, made.out, *TWO)
    return made


@pytest.fixture(scope="module")
def compacted(scene: Scene, second: Stored) -> Stored:
    made = Stored(scene.root / "compacted", scene.root / "compacted-out")
    shutil.copytree(second.index, made.index)
    model = ("--set", f"encoder.model={scene.world.encoder}")
    assert shardrank("compact", str(made.index), *model) == 0
    scene.rank(made.index, made.out)
    return made


# Nights.


def test_a_version_has_every_family_and_kind(first: Stored, second: Stored) -> None:
    version = second.version
    assert version.columns.keys() == ALL.keys()
    families = {table.model_fields["family"].default for table in COLUMN_TABLES}
    assert {each.card.family for each in version.columns.values()} == families
    assert 0 < live_pictures(second.index, version).null_count < version.live.passages
    kinds = {name: index.plan.kind for name, index in version.indexes.items()}
    assert kinds == {name: column.kind for name, column in SEARCHED.items()}
    assert {n for n, e in version.columns.items() if e.codec} == {
        name for name, column in ALL.items() if column.fitted
    }
    ids = [{part.id for part in stored.version.parts} for stored in (first, second)]
    assert ids[0] & ids[1], "some parts stay"
    assert ids[0] - ids[1], "some are rewritten, or gone"
    assert any(part.deleted for part in version.parts)
    assert max(len(index.shards) for index in version.indexes.values()) > 1


def test_what_is_live(scene: Scene, first: Stored, second: Stored, compacted: Stored) -> None:
    for stored, night in ((first, 0), (second, 1), (compacted, 1)):
        texts = scene.nights[night].items()
        wanted = {d: content_hash("", text, picture_of(d)) for d, text in texts}
        assert live_documents(stored.index, stored.version) == wanted
        assert stored.version.live.documents == len(wanted)


@pytest.mark.parametrize("name", COLUMNS)
def test_values_are_those_of_the_encoder(second: Stored, name: str) -> None:
    second.require_values(name)


def scores_by_hand(stored: Stored, name: str, asked: Sequence[str]) -> Float64:
    """float64[queries, live passages], of what is stored: products, MaxSim, or BM25; -inf where
    there is no hit. What codes find is scored by the vectors that they are of."""
    index = stored.version.indexes.get(name)
    held = index.scored if index else name
    queries, column = stored.made(held, asked, queries=True), stored.column(held)
    family = stored.version.columns[held].card.family
    if family in ("late", "views"):
        return _maxsim(TokenVectors.of(queries), token_vectors(column, stored.codec(held)))
    if family == "bm25":
        products = _bm25(stored, name, asked)
    elif family == "sparse":
        terms = terms_of(queries, column)
        products = plain(queries, terms) @ plain(column, terms).T
    else:
        return plain(queries) @ plain(column).T
    return np.where(products > 0, products, -np.inf)


def _maxsim(queries: TokenVectors, passages: TokenVectors) -> Float64:
    def one(query: int, row: int) -> float:
        products = queries.text(query).astype(np.float64) @ passages.text(row).T
        return float(products.max(axis=1).sum())

    return np.array([[one(q, n) for n in range(len(passages))] for q in range(len(queries))])


def _bm25(stored: Stored, name: str, asked: Sequence[str]) -> Float64:
    read = stored.read(name)
    texts = (
        expanded(Beside.of(read), "append") if pa.types.is_struct(read.type) else read.to_pylist()
    )
    cut = [words(text) for text in texts]
    oracle = Bm25Oracle({str(n): [each] for n, each in enumerate(cut)}, "english", 1.5, 0.75)
    return np.array([[oracle.score(words(q), each) for each in cut] for q in asked])


@pytest.mark.parametrize("name", SEARCHED)
def test_hits_are_live_and_have_the_scores_of_what_is_stored(
    scene: Scene, second: Stored, name: str
) -> None:
    """An exact kind finds the best of all documents; another one what the audit says, or more
    or less."""
    scores = scores_by_hand(second, name, scene.asked)
    places = {(doc, number): n for n, (doc, number, _) in enumerate(second.passages)}
    for found, mine in zip(second.lists[name], scores, strict=True):
        assert {hit.doc_id for hit in found} <= scene.nights[1].keys()
        assert len({hit.doc_id for hit in found}) == len(found)
        told = [hit.score for hit in found]
        assert told == pytest.approx([mine[places[h.doc_id, h.passage]] for h in found], **NEAR)
        if ALL[name].exact:
            assert told == pytest.approx(best_of(second, mine), **NEAR)
        else:
            assert len(found) == K
    audit = second.version.indexes[name].audit
    assert ALL[name].exact or audit.recall >= audit.target


NEAR = {"rel": 2e-3, "abs": 2e-3}


def best_of(stored: Stored, scores: Float64) -> list[float]:
    """The scores of the K best documents, by their best passages."""
    best: dict[str, float] = {}
    for (doc, _, _), score in zip(stored.passages, scores.tolist(), strict=True):
        best[doc] = max(score, best.get(doc, -np.inf))
    return sorted((score for score in best.values() if score > -np.inf), reverse=True)[:K]


def test_a_rebuild_finds_the_same(scene: Scene, second: Stored) -> None:
    """Of columns that learn nothing of a sample."""
    again = Stored(scene.root / "rebuilt", scene.root / "rebuilt-out")
    scene.night(2, again.index)
    scene.rank(again.index, again.out)
    for name in (n for n, column in SEARCHED.items() if column.exact and not column.learns):
        for one, other in zip(second.lists[name], again.lists[name], strict=True):
            scores = [[hit.score for hit in hits] for hits in (one, other)]
            assert scores[0] == pytest.approx(scores[1], **NEAR)
            assert name != "bm25" or one == other


def test_too_few_passages_for_an_index_are_refused_before_any_model_runs(
    scene: Scene,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over whichever column it is."""
    monkeypatch.setattr("shardrank.version.sizing.FEWEST_PER_CENTROID", 39)
    index = tmp_path / "index"
    words = scene.world.index(index, *SETS, *scene.columns, OFF)
    assert shardrank(*words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "trains on at least 624 vectors" in said
    assert "Set index.muvera.kind = exact" in said
    assert not (index / "units" / "embed").exists()


# What stays, bit for bit.


@pytest.mark.parametrize("name", ALL)
def test_a_night_keeps_the_values_of_what_stays(first: Stored, second: Stored, name: str) -> None:
    before, after = first.values(name), second.values(name)
    both = before.keys() & after.keys()
    if name == "document":  # of one that changed, the passages that did not have another mean
        changed = {doc_id for doc_id, _, _ in before.keys() ^ after.keys()}
        both = {key for key in both if key[0] not in changed}
    assert len(both) > 30
    assert before.keys() - both
    assert after.keys() - both
    assert all(before[key] == after[key] for key in both)


@pytest.mark.parametrize("name", ALL)
def test_compaction_keeps_all_values(second: Stored, compacted: Stored, name: str) -> None:
    assert len(compacted.version.parts) < len(second.version.parts)
    assert all(part.deleted is None for part in compacted.version.parts)
    assert second.values(name) == compacted.values(name)
    assert second.version.columns[name] == compacted.version.columns[name]
    if ALL[name].exact:
        assert second.lists[name] == compacted.lists[name]


def test_rollback_and_the_night_again(
    scene: Scene, first: Stored, second: Stored, tmp_path: Path
) -> None:
    back = Stored(Path(shutil.copytree(second.index, tmp_path / "index")), tmp_path / "out")
    assert shardrank("rollback", str(back.index), "1") == 0
    scene.rank(back.index, back.out)
    assert back.lists == first.lists
    trec = [(each.out / "run.trec").read_bytes() for each in (back, first)]
    assert trec[0] == trec[1]
    assert shardrank("verify", str(back.index)) == 0
    scene.night(2, back.index)
    assert latest(back.index).parts == second.version.parts
    assert latest(back.index).indexes == second.version.indexes
    # Which leaves but what the version lists, of every folder that a version may list files of.
    assert shardrank("gc", str(back.index), "--keep", "1", "--grace", "0", "--delete") == 0
    listed = {ref.key for ref in latest(back.index).files}
    folders = {key.split("/")[0] for key in listed}
    left = {str(path.relative_to(back.index)) for path in _files(back.index)}
    assert {key for key in left if key.split("/")[0] in folders} == listed
    assert shardrank("verify", str(back.index)) == 0


# The same bytes.


def test_one_thread_and_a_night_that_was_ended(
    scene: Scene, first: Stored, second: Stored, tmp_path: Path
) -> None:
    """Once, half way; tests/e2e/test_every_column_recovery.py ends it at every change."""
    index = Path(shutil.copytree(first.index, tmp_path / "index"))
    writes, one = len(_files(second.index)) - len(_files(first.index)), ("cluster.cpus=1",)
    with counted(Counter(writes // 2, before=True)), pytest.raises(Killed):
        scene.night(2, index, *one)
    scene.night(2, index, *one)
    assert snapshot(index) == snapshot(second.index)


def _files(index: Path) -> list[Path]:
    return [path for path in index.rglob("*") if path.is_file()]


def test_four_threads(scene: Scene, first: Stored, second: Stored, tmp_path: Path) -> None:
    index, out = Path(shutil.copytree(first.index, tmp_path / "index")), tmp_path / "out"
    four = ("cluster.cpus=4", "cluster.actors=4")
    scene.night(2, index, *four)
    scene.rank(index, out, *four)
    assert snapshot(index, out) == snapshot(second.index, second.out)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_s3_and_one_thread(
    scene: Scene,
    second: Stored,
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = endpoint_of(kind, request, monkeypatch)
    base = f"s3://{new_bucket(endpoint)}"
    sets = (f"s3.endpoint={endpoint}", "cluster.cpus=1", "cluster.actors=1")
    for night in (1, 2):
        scene.night(night, f"{base}/index", *sets)
    scene.rank(f"{base}/index", f"{base}/out", *sets)
    direct = S3Settings(endpoint=endpoint)
    found = snapshot_of(S3Storage(f"{base}/index", direct), S3Storage(f"{base}/out", direct))
    assert found == snapshot(second.index, second.out)


# Damage.


@pytest.mark.parametrize("name", ALL)
def test_damage_is_found(second: Stored, name: str, tmp_path: Path) -> None:
    """A flipped byte in each kind of file: of the column, what it learnt, and its index; of the
    first also what a part has beside columns."""
    index = Path(shutil.copytree(second.index, tmp_path / "index"))
    version = second.version
    part = next(part for part in version.parts if part.deleted)
    over = version.indexes.get(name)
    shards = [shard.file for shard in over.shards[:1]] if over else []
    # What stands in one row is told of at once.
    rows = [
        [part.columns[name].file, *shards, version.columns[name].codec],
        [over.codec if over else None],
        [over.counts if over else None],
    ]
    if name == "dense":
        rows += [[part.passages], [part.keys], [part.deleted]]
    if name == "image":
        rows += [[part.pictures]]
        assert part.pictures
    for files in rows:
        keys = {ref.key for ref in files_in(files)}
        for key in keys:
            flip(index / key)
        found = problems(index)
        assert all(key in found for key in keys)
        for key in keys:
            flip(index / key)
    assert name != "dense" or problems(index) == ""


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def problems(index: Path) -> str:
    workspace = Workspace(LocalStorage(str(index)))
    found = verify(workspace, open_version(workspace).version)
    return " ".join(problem for piece in found for problem in piece.problems)


# What reads the columns.


@pytest.mark.parametrize(
    ("name", "family"), [("late4", "maxsim"), ("own", "terms"), ("bm25", "terms")]
)
def test_a_column_reranks_and_teaches(
    scene: Scene, compacted: Stored, tmp_path: Path, name: str, family: str
) -> None:
    """By codes, by weights of a passage's own tokens, and by counted words, after a night and a
    compaction."""
    out, labels = tmp_path / "out", tmp_path / "labels"
    reranker = (f"reranker.family={family}", f"reranker.of={name}", "reranker.depth=6")
    asked = (*SETS, *reranker, "retriever.dense.index=dense")
    parted = [word for value in asked for word in ("--set", value)]
    files = [str(compacted.index), scene.world.queries, str(out)]
    model = ["--set", f"encoder.model={scene.world.encoder}"]
    assert shardrank("rank", *files, *parted, *model) == 0
    scores = scores_by_hand(compacted, name, scene.asked)
    scores = np.where(np.isneginf(scores), 0, scores)  # where no term is in both
    places = {(doc, number): n for n, (doc, number, _) in enumerate(compacted.passages)}
    queries = [row["_id"] for row in scene.world.rows("queries")]
    rows = pq.read_table(out / "rankings").to_pylist()
    reranked = {(r["query_id"], r["doc_id"], r["passage"]): r["rerank_score"] for r in rows}
    reranked = {key: score for key, score in reranked.items() if score is not None}
    by_hand = [scores[queries.index(q), places[d, n]] for q, d, n in reranked]
    assert len(reranked) == QUERIES * 6
    assert [*reranked.values()] == pytest.approx(by_hand, **NEAR)
    told = (*asked, f"label.teachers={name}", "label.depth=8")
    parted = [word for value in told for word in ("--set", value)]
    words = ("-f", "pointwise", "--qrels", scene.world.qrels)
    assert shardrank("label", str(out), str(labels), *words, *parted, *model) == 0
    taught = {(r["query_id"], r["doc_id"]): r["score"] for r in _rows(labels / "scores")}
    assert len(taught) > len(reranked)
    assert all(taught[q, d] == score for (q, d, _), score in reranked.items())


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(folder.iterdir()) for row in pq.read_table(file).to_pylist()]
