"""shardrank tune: what it names gives what it says, when the run is made with it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
import pytest

import shardrank as package
from shardrank.core.rank_settings import FusionSettings
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.ranked_runs import read_ranked
from shardrank.storage.local import LocalStorage
from tests.world import World, make_world, shardrank, write_lines

#: A query's documents, best first, with their scores.
Found = list[tuple[str, float]]

SETS = ("passages.max_tokens=16", "passages.overlap=0", "search.k=20", "search.block_queries=4")
BARE = (*SETS, "reranker.model=off")

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=80, queries=12)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, world: World, inline: object) -> Path:
    root = tmp_path_factory.mktemp("tune")
    assert shardrank(*world.index(root / "index", *SETS)) == 0
    return root / "index"


@pytest.fixture(scope="module")
def out(index: Path, world: World) -> Path:
    folder = index.parent / "out"
    assert shardrank(*world.rank(index, folder, *SETS, "reranker.interpolation=0.35")) == 0
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, world: World, inline: object) -> Path:
    """An index of vectors and words."""
    root = tmp_path_factory.mktemp("both")
    assert shardrank(*world.index(root / "index", *SETS, "encoder.bm25.family=bm25")) == 0
    return root / "index"


@pytest.fixture(scope="module")
def fused(both: Path, world: World) -> Path:
    """Ranked by both, fused by ranks, and not reranked."""
    folder = both.parent / "fused"
    assert shardrank(*world.rank(both, folder, *BARE, "fusion.rank_constant=5")) == 0
    return folder


@pytest.fixture(scope="module")
def three(both: Path, world: World) -> Path:
    """Ranked by three, one of which counts no word twice, and fused by scores."""
    folder, config = both.parent / "three", both.parent / "three.toml"
    config.write_text(
        "[[retriever]]\nindex = 'dense'\n[[retriever]]\nindex = 'bm25'\nk = 12\n"
        "[[retriever]]\nindex = 'bm25'\nname = 'once'\nk1 = 0\n"
    )
    words = world.rank(both, folder, *BARE, "fusion.how=scores")
    assert shardrank(*words, "--config", str(config)) == 0
    return folder


def retrieved(out: Path, qrels: Path | str) -> dict[str, float]:
    return package.evaluate(out, qrels).metrics["retrieved"]


def lists(out: Path) -> Iterator[tuple[str, list[Found]]]:
    """Each query, and what each retriever found for it."""
    workspace = Workspace(LocalStorage(str(out)))
    for block in read_ranked(workspace).blocks:
        tables = [workspace.read_table(ref).to_pylist() for ref in block.lists]
        for number, query in enumerate(workspace.read_table(block.queries)["query_id"].to_pylist()):
            mine = [[row for row in table if row["query"] == number] for table in tables]
            yield query, [[(row["doc_id"], row["score"]) for row in found] for found in mine]


def terms(found: Found, how: FusionSettings) -> dict[str, float]:
    """What each document of a list adds."""
    scores = [score for _, score in found]
    if how.how == "rrf":
        return {doc: 1 / (how.rank_constant + rank) for rank, (doc, _) in enumerate(found, 1)}
    if how.norm == "min-max":
        low, spread = min(scores, default=0), max(scores, default=0) - min(scores, default=0)
    else:
        low, spread = (fmean(scores), pstdev(scores)) if scores else (0, 0)
    return {doc: (score - low) / max(spread, 1e-9) for doc, score in found}


def order(lists: Sequence[Found], how: FusionSettings) -> list[str]:
    """A query's documents as they should be fused."""
    total: dict[str, float] = {}
    for weight, found in zip(how.weights or (), lists, strict=True):
        for doc, term in terms(found, how).items():
            total[doc] = total.get(doc, 0) + weight * term
    return sorted(total, key=lambda doc: (-np.float32(total[doc]), doc))[:20]


def mrr(ranked: dict[str, list[str]], qrels: Path) -> float:
    """Of 10; each query has one relevant document."""
    wanted = dict(line.split("\t")[:2] for line in qrels.read_text().splitlines()[1:])
    first = {query: docs[:10] for query, docs in ranked.items()}
    found = [
        1 / (1 + first[query].index(doc)) if doc in first[query] else 0
        for query, doc in wanted.items()
    ]
    return fmean(found)


def halves(world: World, folder: Path) -> tuple[Path, Path]:
    """The judgements of every other query, and of the rest."""
    head, *lines = Path(world.qrels).read_text().splitlines()
    queries = sorted({line.split("\t")[0] for line in lines})
    paths = folder / "dev.tsv", folder / "test.tsv"
    for path, wanted in zip(paths, (queries[::2], queries[1::2]), strict=True):
        kept = [line for line in lines if line.split("\t")[0] in wanted]
        path.write_text("\n".join([head, *kept]) + "\n")
    return paths


def test_the_figures_are_those_of_a_run_with_that_weight(
    world: World, index: Path, out: Path, tmp_path: Path
) -> None:
    dev, test = halves(world, tmp_path)
    tuned = package.tune(out, dev, test=test)
    assert tuned.held is not None
    assert tuned.before.interpolation == 0.35
    assert tuned.before.metrics == package.evaluate(out, dev).metrics["reranked"]
    assert tuned.retrieved == package.evaluate(out, dev).metrics["retrieved"]
    assert tuned.tried[0].metrics == tuned.retrieved, "no weight, no reranker"
    assert tuned.held.before.metrics == package.evaluate(out, test).metrics["reranked"]
    assert (tuned.held.queries, tuned.held.shared) == (6, 0)
    (tmp_path / "tuned.toml").write_text(tuned.toml())
    again = tmp_path / "again"
    config = ("--config", str(tmp_path / "tuned.toml"))
    assert shardrank(*world.rank(index, again, *SETS), *config) == 0
    assert package.evaluate(again, dev).metrics["reranked"] == tuned.best.metrics
    assert package.evaluate(again, test).metrics["reranked"] == tuned.held.after.metrics


def test_the_command(
    world: World, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev, _ = halves(world, tmp_path)
    to = tmp_path / "tuned.toml"
    words = ("tune", str(out), "--qrels", str(dev), "--test", str(dev), "--to", str(to))
    assert shardrank(*words) == 0
    said = " ".join(capsys.readouterr().out.split())
    for wanted in ("as it was ranked", "best", "retrieved", "no fair test", "Written to"):
        assert wanted in said
    assert "interpolation = " in to.read_text()
    assert shardrank(*words) == 2, "the file is there"
    assert "Name another file" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("name", "fusions"), [("fused", 63), ("three", 66)])
def test_each_fusion_gives_what_the_oracle_says(
    world: World, name: str, fusions: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    out, (dev, _) = request.getfixturevalue(name), halves(world, tmp_path)
    found, tuned = dict(lists(out)), package.tune(out, dev, metric="MRR@10")
    assert tuned.fusion is not None
    assert (tuned.before, tuned.tried, tuned.best, tuned.held) == (None, (), None, None)
    for tried in tuned.fusion.tried:
        fused_here = {query: order(mine, tried.fusion) for query, mine in found.items()}
        assert tried.metrics["MRR@10"] == pytest.approx(mrr(fused_here, dev)), tried.fusion
    for number, alone in enumerate(tuned.fusion.alone):
        mine = {query: [doc for doc, _ in both[number]] for query, both in found.items()}
        assert alone.metrics["MRR@10"] == pytest.approx(mrr(mine, dev))
    values = [tried.metrics["MRR@10"] for tried in tuned.fusion.tried]
    assert len(values) == fusions
    assert len({*values}) > 3, "the grid decides something"
    assert tuned.fusion.best.metrics["MRR@10"] == max(values)


def test_a_run_with_the_settings_of_the_file_has_the_figures_of_the_fusion(
    world: World, both: Path, fused: Path, tmp_path: Path
) -> None:
    dev, test = halves(world, tmp_path)
    tuned = package.tune(fused, dev, test=test)
    fusion = tuned.fusion
    assert fusion is not None
    assert fusion.held is not None
    assert fusion.before.fusion == FusionSettings(rank_constant=5, weights=(1, 1))
    assert fusion.before.metrics == tuned.retrieved == retrieved(fused, dev)
    assert fusion.held.before.metrics == retrieved(fused, test)
    assert (fusion.held.queries, fusion.held.shared) == (6, 0)
    assert fusion.changed, "else this shows nothing"
    to = tmp_path / "tuned.toml"
    to.write_text(tuned.toml())
    again = tmp_path / "again"
    assert shardrank(*world.rank(both, again, *BARE), "--config", str(to)) == 0
    assert retrieved(again, dev) == fusion.best.metrics
    assert retrieved(again, test) == fusion.held.after.metrics
    for alone, held in zip(fusion.alone, fusion.held.alone, strict=True):
        single = tmp_path / alone.retriever
        only = f"retriever.{alone.retriever}.k=20"
        assert shardrank(*world.rank(both, single, *BARE, only)) == 0
        assert (alone.metrics, held.metrics) == (retrieved(single, dev), retrieved(single, test))


def test_weights_are_measured_with_the_runs_own_fusion(
    world: World, both: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, to, sets = tmp_path / "out", tmp_path / "tuned.toml", (*SETS, "reranker.depth=4")
    assert shardrank(*world.rank(both, out, *sets)) == 0
    words = ("tune", str(out), "--qrels", world.qrels, "--to", str(to))
    assert shardrank(*words) == 0
    said = " ".join(capsys.readouterr().out.split())
    tuned = package.tune(out, world.qrels)
    assert tuned.before is not None
    assert tuned.before.metrics == package.evaluate(out, world.qrels).metrics["reranked"]
    assert tuned.fusion is not None
    assert tuned.fusion.changed, "else this shows nothing"
    assert "fusion that it was ranked with" in said
    again = tmp_path / "again"
    assert shardrank(*world.rank(both, again, *sets), "--config", str(to)) == 0
    assert retrieved(again, world.qrels) == tuned.fusion.best.metrics
    moved = {query for query, _ in reranked(out) ^ reranked(again)}
    assert tuned.fusion.moved == len(moved) > 0
    assert f"reranks other documents for {len(moved)} of the judged" in said
    settled = package.tune(again, world.qrels)
    assert settled.fusion is not None
    assert not settled.fusion.changed
    assert settled.fusion.moved == 0
    assert "tune again" not in settled.toml()


def reranked(out: Path) -> set[tuple[str, str]]:
    """(query, document)"""
    rows = (row for table in package.read_rankings(out) for row in table.to_pylist())
    return {(r["query_id"], r["doc_id"]) for r in rows if r["rerank_score"] is not None}


def test_documents_that_are_their_own_query_are_passed_over(
    world: World, both: Path, tmp_path: Path
) -> None:
    """As the run did: what is fused again lacks them, too."""
    judged = [line.split("\t")[:2] for line in Path(world.qrels).read_text().splitlines()[1:]]
    asked = [json.loads(line) for line in Path(world.queries).read_text().splitlines()]
    own = {row["_id"]: doc for row, (_, doc) in zip(asked, judged, strict=True)}
    rows = {own[row["_id"]]: row["text"] for row in asked}
    queries = tmp_path / "queries.jsonl"
    write_lines(queries, ({"_id": name, "text": text} for name, text in rows.items()))
    qrels = tmp_path / "qrels.tsv"
    lines = [f"{doc}\td{n:04d}\t1" for n, doc in enumerate(rows)]
    qrels.write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    sets = (*BARE, "search.ignore_same_id=true")
    words = world.rank(both, tmp_path / "out", *sets)
    words[2], words[5] = str(queries), str(qrels)
    assert shardrank(*words) == 0
    given = {"overrides": ["search.ignore_same_id=true"]}
    tuned = package.tune(tmp_path / "out", qrels, metric="Recall@100", **given)
    assert tuned.fusion is not None
    measured = package.evaluate(tmp_path / "out", qrels, **given).metrics["retrieved"]
    assert tuned.fusion.before.metrics == measured
    (tmp_path / "tuned.toml").write_text(tuned.toml())
    words[3] = str(tmp_path / "again")
    assert shardrank(*words, "--config", str(tmp_path / "tuned.toml")) == 0
    measured = package.evaluate(tmp_path / "again", qrels, **given).metrics["retrieved"]
    assert tuned.fusion.best.metrics == measured


def test_the_command_shows_fusions(
    world: World, fused: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev, test = halves(world, tmp_path)
    to = tmp_path / "tuned.toml"
    words = ("tune", str(fused), "--qrels", str(dev), "--test", str(test), "--to", str(to))
    assert shardrank(*words) == 0
    said = " ".join(capsys.readouterr().out.split())
    for wanted in ("as it was ranked", "best", "alone", "Best of 63 fusions", "judged to test"):
        assert wanted in said
    assert "interpolation" not in said + to.read_text(), "nothing was reranked"
    assert "no fair test" not in said


def test_what_cannot_be_tuned(world: World, index: Path, out: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    assert shardrank(*world.rank(index, bare, *SETS, "reranker.model=off")) == 0
    foreign = tmp_path / "foreign.tsv"
    foreign.write_text("query-id\tcorpus-id\tscore\nnobody\tnothing\t1\n")
    for folder, qrels, metric in (
        (bare, world.qrels, "nDCG@10"),
        (out, foreign, "nDCG@10"),
        (out, world.qrels, "nDCC@10"),
        (tmp_path, world.qrels, "nDCG@10"),
    ):
        words = ("tune", str(folder), "--qrels", str(qrels), "--metric", metric)
        assert shardrank(*words) == 2
