"""Documents by several of their passages, by whole commands, against numpy over all passages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shardrank as package
from shardrank.core.arrow_columns import matrix
from shardrank.core.errors import SettingsError
from shardrank.core.passage_scores import PassageScores
from shardrank.core.settings import Settings
from shardrank.index.pairs import pair_scores
from tests.e2e.test_tune import halves, retrieved
from tests.world import World, latest, make_world, shardrank

pytestmark = pytest.mark.usefixtures("inline")

K = 10
CUT = ("passages.max_tokens=16", "passages.overlap=0", "index.kind=exact")
BARE = (f"search.k={K}", "search.block_queries=4", "reranker.model=off")
FOLDS: dict[str, tuple[str, ...]] = {
    "mean": (),
    "top": ("search.fold_top=3",),
    "weights": ("search.fold_weights=1,0.5,0.25",),
}
WEIGHTS = {"mean": (), "top": (1.0, 1.0, 1.0), "weights": (1.0, 0.5, 0.25)}
Rows = dict[str, list[tuple[str, float, int]]]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: object
) -> World:
    made = make_world(tmp_path_factory.mktemp("folds"), models, documents=60, queries=9)
    for name, size in (("large", 512), ("small", 24)):
        words = made.index(made.root / name, *CUT, f"passages.part_size={size}")
        assert shardrank(*words) == 0
    return made


def rows_of(out: Path) -> Rows:
    """Documents, scores and best passages of each query, in the order of ranks."""
    found: Rows = {}
    order = [("query_id", "ascending"), ("rank", "ascending")]
    for row in pq.read_table(out / "rankings").sort_by(order).to_pylist():
        one = (row["doc_id"], row["retrieval_score"], row["passage"])
        found.setdefault(row["query_id"], []).append(one)
    return found


def asked(out: Path) -> tuple[list[str], Any]:
    """The queries' names and vectors."""
    blocks = package.api.read_ranked(package.api.open_workspace(str(out), Settings())).blocks
    names = pa.concat_tables(pq.read_table(out / b.queries.key) for b in blocks)["query_id"]
    vectors = [matrix(pq.read_table(out / b.vectors.key)["vector"]) for b in blocks]
    return names.to_pylist(), np.concatenate(vectors)


def passages(index: Path) -> Iterator[tuple[str, Any]]:
    """Each document and the vectors of its passages."""
    for part in latest(index).parts:
        vectors = matrix(pq.read_table(index / part.columns["dense"].file.key)["vector"])
        for key in pq.read_table(index / part.keys.key).to_pylist():
            yield key["doc_id"], vectors[key["row"] : key["row"] + key["rows"]]


def oracle(index: Path, query: Any, weights: tuple[float, ...], pool: int) -> list[Any]:
    """The first documents by their best passages, in the order of their folds."""
    found = []
    for name, vectors in passages(index):
        rows = np.arange(len(vectors))
        scores = pair_scores(query[None], np.zeros(len(rows), np.int32), vectors, rows)
        fold = PassageScores.of(scores, np.array([0, len(rows)])).folded(weights)[0]
        found.append((-scores.max(), name, float(fold), int(scores.argmax())))
    first = [(name, fold, best) for _, name, fold, best in sorted(found)[:pool]]
    return sorted(first, key=lambda each: (-each[1], each[0]))[:K]


@pytest.mark.parametrize("fold", FOLDS)
def test_a_fold_is_of_all_passages_of_what_was_found(
    world: World, tmp_path: Path, fold: str
) -> None:
    """In whatever parts and blocks."""
    sets = (*BARE, f"search.fold={fold}", *FOLDS[fold])
    found = []
    for name, more in (("large", ()), ("small", ("search.block_queries=9",))):
        out = tmp_path / name
        assert shardrank(*world.rank(world.root / name, out, *sets, *more)) == 0
        found.append(rows_of(out))
    assert found[0] == found[1]
    names, vectors = asked(tmp_path / "large")
    for query, vector in zip(names, vectors, strict=True):
        assert found[0][query] == oracle(world.root / "large", vector, WEIGHTS[fold], 2 * K)


def test_the_best_passage_alone_is_what_max_gives(world: World, tmp_path: Path) -> None:
    sets = ("search.fold=weights", "search.fold_weights=1")
    for name, more in (("max", ()), ("one", sets)):
        words = world.rank(world.root / "small", tmp_path / name, *BARE, *more)
        assert shardrank(*words) == 0
    assert rows_of(tmp_path / "max") == rows_of(tmp_path / "one")


def test_words_and_fusion_are_folded_too(world: World, tmp_path: Path) -> None:
    """Of BM25 with one weight nothing changes; with two, documents of one passage keep their
    score."""
    index = tmp_path / "index"
    assert shardrank(*world.index(index, *CUT, "encoder.bm25.family=bm25")) == 0
    two = ("search.fold=top", "search.fold_top=2")
    runs = {
        "max": (),
        "one": ("search.fold=weights", "search.fold_weights=1"),
        "two": two,
        "both": (*two, "retriever.dense.k=10"),
    }
    for name, sets in runs.items():
        words = world.rank(index, tmp_path / name, *BARE, "retriever.bm25.k=10", *sets)
        assert shardrank(*words) == 0
    found = {name: rows_of(tmp_path / name) for name in runs}
    assert found["max"] == found["one"]
    assert found["two"] != found["max"]
    single = {name for name, vectors in passages(index) if len(vectors) == 1}
    for query, rows in found["two"].items():
        before = {name: score for name, score, _ in found["max"][query]}
        for name, score, _ in rows:
            if name in before:
                assert (score == before[name]) or (name not in single and score < before[name])
    assert len(found["both"]) == len(found["max"])


def test_a_reranker_sees_the_best_passage(world: World, tmp_path: Path) -> None:
    sets = (f"search.k={K}", "search.fold=mean")
    assert shardrank(*world.rank(world.root / "small", tmp_path / "out", *sets)) == 0
    assert shardrank(*world.rank(world.root / "small", tmp_path / "max", "search.k=60")) == 0
    best = {
        (row["query_id"], row["doc_id"]): (row["passage"], row["rerank_score"])
        for row in pq.read_table(tmp_path / "max" / "rankings").to_pylist()
    }
    for row in pq.read_table(tmp_path / "out" / "rankings").to_pylist():
        passage, score = best[row["query_id"], row["doc_id"]]
        assert row["passage"] == passage
        assert row["rerank_score"] == pytest.approx(score, rel=1e-5)


def test_tune_chooses_the_fold_that_a_run_then_has(world: World, tmp_path: Path) -> None:
    dev, test = halves(world, tmp_path)
    index, out, again = world.root / "small", tmp_path / "out", tmp_path / "again"
    all_ = (*BARE[1:], "search.k=60")
    assert shardrank(*world.rank(index, out, *all_, "search.fold=mean")) == 0
    tuned = package.tune(out, dev, test=test, metric="nDCG@60")
    fold = tuned.fold
    assert fold is not None
    assert fold.held is not None
    assert fold.before.weights == ()
    assert fold.before.metrics == tuned.retrieved
    assert retrieved(out, dev).items() <= tuned.retrieved.items()
    assert len({each.metrics["nDCG@60"] for each in fold.tried}) > 3
    assert fold.changed, "else this shows nothing"
    (tmp_path / "tuned.toml").write_text(tuned.toml())
    config = ("--config", str(tmp_path / "tuned.toml"))
    assert shardrank(*world.rank(index, again, *all_), *config) == 0
    metrics = {"overrides": ["evaluate.metrics=nDCG@60"]}
    for qrels, tried in ((dev, fold.best), (test, fold.held.after)):
        found = package.evaluate(again, qrels, **metrics).metrics["retrieved"]
        assert found["nDCG@60"] == tried.metrics["nDCG@60"]


def test_the_command_shows_folds(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert shardrank(*world.rank(world.root / "small", out, *BARE, "search.fold=mean")) == 0
    assert shardrank("tune", str(out), "--qrels", world.qrels, "--test", world.qrels) == 0
    said = " ".join(capsys.readouterr().out.split())
    for wanted in ("fold=mean", "fold=max", "as it was ranked", "Best of", "no fair test"):
        assert wanted in said


def test_hubs_are_not_lowered_of_folded_documents(world: World, tmp_path: Path) -> None:
    given = {
        "encoder": [{"model": str(world.encoder)}],
        "search": {"fold": "mean"},
        "retriever": [{"index": "dense", "hubness": 20}],
        "reranker": [{"model": "off"}],
    }
    with pytest.raises(SettingsError, match=r"search\.fold counts all passages"):
        package.rank(
            world.root / "small", world.queries, tmp_path, settings=Settings.model_validate(given)
        )
