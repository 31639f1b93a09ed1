"""shardrank compare, and metrics by setting, through rank, evaluate, tune and plan."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import shardrank as package
from shardrank.core.errors import InputError
from tests.world import World, make_world, shardrank, write_lines

SETS = ("passages.max_tokens=16", "passages.overlap=0", "search.k=20", "search.block_queries=4")
NAMES = "AP,R@1000,nDCG@10"

Said = Callable[[], str]
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: " ".join(capsys.readouterr().out.split())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    world = make_world(tmp_path_factory.mktemp("world"), models, documents=60, queries=12)
    with Path(world.qrels).open("a") as file:
        file.write("q998\td0001\t1\nq999\td0001\t1\n")
    return world


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, world: World, inline: object) -> Path:
    root = tmp_path_factory.mktemp("compare")
    assert shardrank(*world.index(root / "index", *SETS)) == 0
    return root / "index"


@pytest.fixture(scope="module")
def reranked(index: Path, world: World) -> Path:
    folder = index.parent / "reranked"
    sets = (*SETS, f"evaluate.metrics={NAMES}", "reranker.interpolation=0.9")
    assert shardrank(*world.rank(index, folder, *sets)) == 0
    return folder


@pytest.fixture(scope="module")
def bare(index: Path, world: World) -> Path:
    """Without a reranker, of ten of the queries and another, in other blocks and another order."""
    lines = Path(world.queries).read_text().splitlines()[2:]
    queries = index.parent / "fewer.jsonl"
    write_lines(queries, [*reversed(lines), json.dumps({"_id": "q999", "text": "more words"})])
    sets = (*SETS, "search.block_queries=7", "reranker.model=off")
    words = world.rank(index, index.parent / "bare", *sets)
    assert shardrank(*(str(queries) if word == world.queries else word for word in words)) == 0
    return index.parent / "bare"


def test_metrics_are_those_of_the_setting(
    world: World, index: Path, reranked: Path, said: Said
) -> None:
    stored = json.loads((reranked / "metrics.json").read_text())
    assert [list(values) for values in stored.values()] == [NAMES.split(",")] * 2
    page = (reranked / "report.html").read_text()
    assert "R@1000 looks further than the 20 documents that a query has" in page
    assert "Not ranked: 2 of 14 judged queries, which count as 0." in page
    rows = json.loads(re.findall(r'id="query-data">(.*?)</script>', page)[0])
    assert (rows["metrics"], len(rows["id"])) == (NAMES.split(","), 12)
    mean = sum(rows["after"][2]) / 14
    assert mean == pytest.approx(stored["reranked"]["nDCG@10"], abs=1e-4)
    assert shardrank("evaluate", str(reranked), world.qrels, "--set", "evaluate.metrics=P@1") == 0
    told = said()
    assert "P@1" in told
    assert "nDCG@10" not in told
    assert "Not ranked: 2 of 14 judged queries" in told
    default = package.evaluate(reranked, world.qrels).metrics["reranked"]
    assert list(default) == ["nDCG@10", "MRR@10", "Recall@100"]
    assert default["nDCG@10"] == stored["reranked"]["nDCG@10"]


def test_a_rerun_with_other_metrics_only_measures_anew(
    world: World, index: Path, reranked: Path
) -> None:
    before = json.loads((reranked / "manifest.json").read_text())["run"]
    ranked = package.rank(
        index,
        world.queries,
        reranked,
        qrels=world.qrels,
        overrides=[*SETS, f"encoder.model={world.encoder}", f"reranker.model={world.reranker}",
                   "reranker.interpolation=0.9", f"evaluate.metrics={NAMES}"],
    )  # fmt: skip
    assert ranked.run == before
    assert ranked.metrics
    assert list(ranked.metrics["retrieved"]) == NAMES.split(",")


def test_what_is_unknown_is_refused_before_any_work(
    world: World, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = world.rank(index, tmp_path / "out", *SETS, "evaluate.metrics=ndcg@10")
    assert shardrank(*words) == 2
    assert "Did you mean nDCG@10?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tune_chooses_by_any_metric(world: World, reranked: Path, said: Said) -> None:
    words = ("tune", str(reranked), "--qrels", world.qrels, "--metric", "AP(rel=1)")
    assert shardrank(*words) == 0
    told = said()
    assert "Recall@100 AP(rel=1)" in told
    assert f"{world.qrels}: Not ranked: 2 of 14 judged queries" in told


def test_the_plan_checks_judgements(world: World, index: Path, tmp_path: Path, said: Said) -> None:
    words = [word for word in world.rank(index, tmp_path, *SETS) if word != str(tmp_path)]
    assert shardrank("plan", *words) == 0
    told = said()
    assert "judged 12 of 12 queries, for nDCG@10, MRR@10, Recall@100" in told
    assert "Not ranked: 2 of 14 judged queries" in told
    assert "Recall@100 looks further than the 20 documents" in told
    (tmp_path / "bad.tsv").write_text("one\ttwo\tthree\n")
    words[words.index(world.qrels)] = str(tmp_path / "bad.tsv")
    assert shardrank("plan", *words) == 2


def test_two_rankings_by_judgements(
    world: World, reranked: Path, bare: Path, tmp_path: Path, said: Said
) -> None:
    written = tmp_path / "differences.parquet"
    words = ("compare", str(bare), str(reranked), "--qrels", world.qrels, "--to", str(written))
    assert shardrank(*words) == 0
    told = said()
    for sentence in (
        "10 judged queries of both. p: paired randomisation test",
        "Judged, and left out: 1 of 1 only, 2 of 2 only, 1 of neither.",
        "Queries: 10 of both, 1 of 1 only, 2 of 2 only",
    ):
        assert sentence in told
    table = pq.read_table(written)
    assert table.num_rows == 10
    found = package.compare(bare, reranked, qrels=world.qrels)
    assert found.table.equals(table)
    for number, out in enumerate((bare, reranked), 1):
        shared = tmp_path / f"{number}.tsv"
        lines = Path(world.qrels).read_text().splitlines()
        kept = [
            line for line in lines[1:] if line.split("\t")[0] in set(table["query_id"].to_pylist())
        ]
        shared.write_text("\n".join([lines[0], *kept]) + "\n")
        wanted = package.evaluate(out, shared).metrics
        for each in found.metrics:
            mean = each.first if number == 1 else each.second
            assert mean == pytest.approx(wanted.get("reranked", wanted["retrieved"])[each.metric])
    again = package.compare(reranked, bare, qrels=world.qrels)
    assert [each.p for each in again.metrics] == pytest.approx([each.p for each in found.metrics])
    assert again.metrics[0].wins == found.metrics[0].losses


def test_two_rankings_without_judgements(
    reranked: Path, bare: Path, tmp_path: Path, said: Said
) -> None:
    written = tmp_path / "overlap.csv"
    assert shardrank("compare", str(reranked), str(bare), "--to", str(written)) == 0
    assert "over 10 queries that both rank" in said()
    rows = pyarrow.csv.read_csv(written)
    assert rows.column_names == ["query_id", "text", "overlap@10", "rbo"]
    itself = package.compare(reranked, reranked)
    assert itself.overlap == pytest.approx((1, 1))
    assert (itself.asked, itself.ranked, itself.metrics) == ((12, 0, 0), 12, ())
    tables = {out: package.read_rankings(out) for out in (reranked, bare)}
    first = {
        out: {row["query_id"]: set() for block in blocks for row in block.to_pylist()}
        for out, blocks in tables.items()
    }
    for out, queries in first.items():
        for block in package.read_rankings(out):
            for row in block.to_pylist():
                if row["rank"] <= 10:
                    queries[row["query_id"]].add(row["doc_id"])
    for row in rows.to_pylist():
        mine, theirs = first[reranked][row["query_id"]], first[bare][row["query_id"]]
        assert row["overlap@10"] == pytest.approx(len(mine & theirs) / 10)


def test_what_cannot_be_compared(
    world: World, index: Path, bare: Path, reranked: Path, tmp_path: Path
) -> None:
    queries = write_lines(tmp_path / "others.jsonl", [{"_id": "z1", "text": "words"}])
    words = world.rank(index, tmp_path / "others", *SETS, "reranker.model=off")
    words = [queries if word == world.queries else word for word in words]
    at = words.index("--qrels")
    assert shardrank(*words[:at], *words[at + 2 :]) == 0
    with pytest.raises(InputError, match="share no query: one has ids such as 'q"):
        package.compare(bare, tmp_path / "others")
    with pytest.raises(InputError, match="holds no finished ranking"):
        package.compare(bare, tmp_path / "nothing")
    foreign = tmp_path / "foreign.tsv"
    foreign.write_text("query-id\tcorpus-id\tscore\nq998\td0001\t1\n")
    with pytest.raises(InputError, match="judges no query of this batch"):
        package.compare(bare, reranked, qrels=foreign)
    for name in ("there.csv", "what.txt"):
        (tmp_path / "there.csv").touch()
        words = ["compare", str(bare), str(reranked), "--to", str(tmp_path / name)]
        assert shardrank(*words) == 2
