"""Feedback, guides and hubs lowered, by whole commands, against numpy over the stored vectors."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shardrank as package
from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.errors import SettingsError
from shardrank.core.guidance import Guidance, guided
from shardrank.core.hubness import hubness
from shardrank.core.pools import Resources
from shardrank.core.settings import Settings
from shardrank.flows.rank_plan import plan_ranking
from shardrank.forecast.cluster_time import forecast
from shardrank.forecast.rates import Rates
from shardrank.jobs.plan_time import cluster_here, rank_work
from shardrank.stages.run.reporter import Silent
from shardrank.stages.run.workspace import open_workspace
from tests.world import World, latest, make_world, write_lines

pytestmark = pytest.mark.usefixtures("inline")

K, FIRST = 10, 3
Retriever = dict[str, Any]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: object
) -> World:
    made = make_world(tmp_path_factory.mktemp("rounds"), models, documents=60, queries=9)
    package.index(made.corpus, made.root / "index", settings=settings(made, {}))
    return made


def settings(world: World, *retrievers: Retriever) -> Settings:
    return Settings.model_validate(
        {
            "encoder": [{"model": str(world.encoder)}, {"family": "bm25"}],
            "passages": {"part_size": 16},
            "retriever": [{"index": "dense", **each} for each in retrievers],
            "search": {"k": K, "block_queries": 4},
            "reranker": [{"model": "off"}],
        }
    )


def ranked(world: World, out: Path, *retrievers: Retriever) -> dict[str, dict[str, float]]:
    """Retrieval scores by document, in the order of ranks, of each query."""
    package.rank(world.root / "index", world.queries, out, settings=settings(world, *retrievers))
    found: dict[str, dict[str, float]] = {}
    order = [("query_id", "ascending"), ("rank", "ascending")]
    for row in pq.read_table(out / "rankings").sort_by(order).to_pylist():
        found.setdefault(row["query_id"], {})[row["doc_id"]] = row["retrieval_score"]
    return found


def lists_of(out: Path) -> dict[str, dict[str, list[float]]]:
    """Of each retriever of several the scores of each query, in the order of ranks."""
    run = package.api.read_ranked(package.api.open_workspace(str(out), Settings()))
    found: dict[str, dict[str, list[float]]] = {each.name: {} for each in run.retrievers}
    for block in run.blocks:
        names = pq.read_table(out / block.queries.key)["query_id"].to_pylist()
        for retriever, ref in zip(run.retrievers, block.lists, strict=True):
            for row in pq.read_table(out / ref.key).to_pylist():
                found[retriever.name].setdefault(names[row["query"]], []).append(row["score"])
    return found


def stored(world: World, out: Path) -> tuple[dict[str, int], Float32, list[str], Float32]:
    """Documents by their places, their vectors; queries, and theirs as they were asked."""
    index, parts = world.root / "index", latest(world.root / "index").parts
    keys = [pq.read_table(index / p.keys.key).sort_by("row")["doc_id"] for p in parts]
    names = [name for column in keys for name in column.to_pylist()]
    files = [pq.read_table(index / part.columns["dense"].file.key)["vector"] for part in parts]
    vectors = np.concatenate([matrix(column) for column in files])
    blocks = package.api.read_ranked(package.api.open_workspace(str(out), Settings())).blocks
    asked = pa.concat_tables(pq.read_table(out / b.queries.key) for b in blocks)
    queries = np.concatenate([matrix(pq.read_table(out / b.vectors.key)["vector"]) for b in blocks])
    return (
        dict(zip(names, range(len(names)), strict=True)),
        vectors,
        asked["query_id"].to_pylist(),
        queries,
    )


def test_feedback_asks_again_by_what_was_found(world: World, tmp_path: Path) -> None:
    plain = ranked(world, tmp_path / "plain", {})
    given = {"feedback": FIRST, "alpha": 0.5, "beta": 0.5}
    found = ranked(world, tmp_path / "moved", given)
    place, vectors, names, queries = stored(world, tmp_path / "moved")
    for name, query in zip(names, queries, strict=True):
        near = [vectors[place[doc]] for doc in list(plain[name])[:FIRST]]
        moved = 0.5 * query + 0.5 * np.mean(near, axis=0)
        scores = {doc: float(vectors[n] @ moved) for doc, n in place.items()}
        best = sorted(scores.values(), reverse=True)[:K]
        assert list(found[name].values()) == pytest.approx(best, abs=1e-5)
        assert found[name] == pytest.approx({d: scores[d] for d in found[name]}, abs=1e-5)


@pytest.mark.parametrize("index", ["dense", "bm25"])
def test_feedback_without_weight_changes_no_order(world: World, tmp_path: Path, index: str) -> None:
    plain = ranked(world, tmp_path / "plain", {"index": index})
    given = {"index": index, "feedback": FIRST, "alpha": 1, "beta": 0}
    assert ranked(world, tmp_path / "again", given) == plain


def test_a_guide_moves_the_query_before_it_is_asked_again(world: World, tmp_path: Path) -> None:
    """The pool is the first documents of both; the guide's own hits stay as they are."""
    how = Guidance("bm25", documents=4, steps=9, rate=0.02, weight=0.6, temperature=0.2)
    guide = {f"guide_{name}": value for name, value in asdict(how).items() if name != "by"}
    dense, words = (ranked(world, tmp_path / n, {"index": n}) for n in ("dense", "bm25"))
    ranked(world, tmp_path / "moved", {"guide": "bm25", **guide}, {"index": "bm25"})
    place, vectors, names, queries = stored(world, tmp_path / "moved")
    lists = lists_of(tmp_path / "moved")
    for name, query in zip(names, queries, strict=True):
        given = dict(list(words[name].items())[: how.documents])
        pool = sorted({*list(dense[name])[: how.documents], *given})
        scores = np.array([given.get(doc, np.nan) for doc in pool])
        near, zero = vectors[[place[doc] for doc in pool]], np.zeros(len(pool), np.int32)
        moved = guided(query[None], zero, near, scores, how)[0]
        wanted = sorted((float(vectors[n] @ moved) for n in place.values()), reverse=True)[:K]
        assert lists["dense"][name] == pytest.approx(wanted, abs=1e-5)
        assert lists["bm25"][name] == pytest.approx(list(words[name].values()))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([{"guide": "none"}], "has the guide 'none', which is none of"),
        ([{"guide": "dense"}], "has the guide 'dense'"),
        ([{"guide": "bm25", "feedback": 3}, {"index": "bm25"}], "sets feedback"),
        ([{"guide_steps": 3}], "sets guide_steps"),
        ([{}, {"index": "bm25", "guide": "dense"}], "sets guide, which an index of kind inverted"),
    ],
)
def test_a_guide_that_cannot_be_is_refused(
    world: World, tmp_path: Path, wanted: list[Retriever], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        ranked(world, tmp_path / "out", *wanted)


def test_hubs_are_lowered_by_the_batch(world: World, tmp_path: Path) -> None:
    plain = ranked(world, tmp_path / "plain", {})
    found = ranked(world, tmp_path / "lowered", {"hubness": 20})
    place, vectors, names, queries = stored(world, tmp_path / "lowered")
    hubs = hubness(vectors, [queries], 20.0)
    for name in names:
        wanted = {doc: score - hubs[place[doc]] for doc, score in plain[name].items()}
        assert found[name] == pytest.approx(wanted, abs=1e-6)
        assert list(found[name].values()) == sorted(found[name].values(), reverse=True)


def test_a_gallery_is_a_second_bank(world: World, tmp_path: Path) -> None:
    """Of all passages, where there are fewer than are wanted."""
    plain = ranked(world, tmp_path / "plain", {})
    found = ranked(world, tmp_path / "both", {"hubness": 20, "gallery": 1000})
    place, vectors, names, queries = stored(world, tmp_path / "both")
    hubs = hubness(vectors, [queries, vectors], 20.0)
    for name in names:
        wanted = {doc: score - hubs[place[doc]] for doc, score in plain[name].items()}
        assert found[name] == pytest.approx(wanted, abs=1e-6)


def test_retrievers_called_as_stages_are(world: World, tmp_path: Path) -> None:
    """Each finds what it finds alone: what one is called names no stage of another."""
    how = {"feedback": FIRST, "hubness": 20, "gallery": 5}
    both = [{**how, "name": "x"}, {**how, "name": "merge-x", "alpha": 0.5}]
    ranked(world, tmp_path / "both", *both)
    found = lists_of(tmp_path / "both")
    for each in both:
        alone = ranked(world, tmp_path / each["name"], each)
        scores = {query: list(hits.values()) for query, hits in alone.items()}
        assert found[each["name"]] == scores
    stages = {path.name for path in (tmp_path / "both" / "units").iterdir()}
    wanted = {"first-x", "first-merge-x", "first_merge-x", "first_merge-merge-x"}
    assert wanted <= stages


class Stages(Silent):
    """Which stages a run goes through."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, stage: str, units: int, resumed: int) -> None:
        self.names.append(stage)


def test_a_forecast_has_the_stages_of_the_run(world: World, tmp_path: Path) -> None:
    rows = [*world.rows("queries"), {"_id": "part", "text": "wing", "parent": "q000"}]
    queries = write_lines(tmp_path / "queries.jsonl", rows)
    moved = {"name": "x", "feedback": FIRST}
    given = settings(world, moved, {"guide": "bm25"}, {"index": "bm25"})
    search = given.search.model_copy(update={"parent": "parent"})
    given, ran = given.model_copy(update={"search": search}), Stages()
    index = world.root / "index"
    package.rank(index, queries, tmp_path / "out", settings=given, reporter=ran)
    plan = plan_ranking(open_workspace(str(index), given), queries, None, given)
    told = forecast(rank_work(plan), cluster_here(given, Resources(1, 0)), Rates()).of("rank")
    assert [stage.need.stage for stage in told] == [*ran.names, "deliver"]
