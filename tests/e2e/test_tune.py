"""shardrank tune: the weight that it names gives what it says, when the run is made with it."""

from pathlib import Path

import pytest

import shardrank as package
from tests.world import World, make_world, shardrank

SETS = ("passages.max_tokens=16", "passages.overlap=0", "search.k=20", "search.block_queries=4")

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


def test_what_cannot_be_tuned(world: World, index: Path, out: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    assert shardrank(*world.rank(index, bare, *SETS, "reranker.model=off")) == 0
    foreign = tmp_path / "foreign.tsv"
    foreign.write_text("query-id\tcorpus-id\tscore\nnobody\tnothing\t1\n")
    for folder, qrels, metric in (
        (bare, world.qrels, "nDCG@10"),
        (out, foreign, "nDCG@10"),
        (out, world.qrels, "nDCG@11"),
        (tmp_path, world.qrels, "nDCG@10"),
    ):
        words = ("tune", str(folder), "--qrels", str(qrels), "--metric", metric)
        assert shardrank(*words) == 2
