"""Documents that queries exclude, from their files to rankings and labels: as if the index did not
hold them, but for what other queries find."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shardrank as package
from shardrank.core.errors import InputError
from shardrank.core.settings import Settings
from tests.world import World, make_world, shardrank, write_lines

pytestmark = pytest.mark.usefixtures("inline")

K = 5
#: Left out by all queries of the tests that compare with an index without them.
GONE = [f"d{n:04d}" for n in range(0, 40, 2)]
Row = Mapping[str, Any]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: object
) -> World:
    """An index of all documents, and one without those that are left out."""
    made = make_world(tmp_path_factory.mktemp("excluded"), models, documents=50, queries=6)
    package.index(made.corpus, made.root / "index", settings=settings(made))
    kept = [row for row in made.rows("corpus") if row["_id"] not in GONE]
    corpus = write_lines(made.root / "kept.jsonl", kept)
    package.index(corpus, made.root / "without", settings=settings(made))
    return made


def tables(world: World, retrievers: Sequence[Row] = ({},), **search: Any) -> dict[str, Any]:
    encoder = {"model": str(world.encoder)}
    return {
        "encoder": [encoder, encoder | {"name": "other", "stored": "fp32"}],
        "passages": {"part_size": 16},
        "retriever": [{"index": "dense", **each} for each in retrievers],
        "search": {"k": K, "block_queries": 4, **search},
        "reranker": [{"model": str(world.reranker), "depth": 3}],
    }


def settings(world: World, retrievers: Sequence[Row] = ({},), **search: Any) -> Settings:
    return Settings.model_validate(tables(world, retrievers, **search))


def ranked(index: Path, out: Path, rows: Sequence[Row], given: Settings) -> list[dict[str, Any]]:
    queries = write_lines(out.with_suffix(".jsonl"), rows)
    package.rank(index, queries, out, settings=given)
    found: list[dict[str, Any]] = pq.read_table(out / "rankings").to_pylist()
    return found


TWO = ({}, {"index": "other"})


@pytest.mark.parametrize(
    "retrievers",
    [
        ({},),
        ({"feedback": 2, "alpha": 0.5, "beta": 0.5},),
        ({"hubness": 20.0},),
        TWO,
        ({}, {"index": "other", "guide": "dense", "guide_documents": 4, "guide_steps": 3}),
    ],
    ids=["plain", "feedback", "hubness", "fusion", "guide"],
)
def test_it_is_as_if_the_index_did_not_hold_them(
    world: World, tmp_path: Path, retrievers: Sequence[Row]
) -> None:
    given = settings(world, retrievers, exclude="not")
    rows = [row | {"not": GONE} for row in world.rows("queries")]
    found = ranked(world.root / "index", tmp_path / "found", rows, given)
    plain = settings(world, retrievers)
    wanted = ranked(world.root / "without", tmp_path / "wanted", world.rows("queries"), plain)
    assert found == wanted
    assert len(found) == K * len(rows)


def test_a_fold_depends_on_no_list_of_another_query(world: World, tmp_path: Path) -> None:
    """One query has a list; the others fold as many documents as without it."""
    given = tables(world, fold="mean", fold_documents=K)
    given["passages"] = {"part_size": 16, "max_tokens": 16, "overlap": 0}
    plain = Settings.model_validate(given)
    given["search"]["exclude"] = "not"
    excluding = Settings.model_validate(given)
    package.index(world.corpus, tmp_path / "index", settings=plain)
    package.index(world.root / "kept.jsonl", tmp_path / "without", settings=plain)
    rows = world.rows("queries")
    lists = [row | {"not": [] if number else GONE} for number, row in enumerate(rows)]
    found = ranked(tmp_path / "index", tmp_path / "found", lists, excluding)
    whole = ranked(tmp_path / "index", tmp_path / "whole", rows, plain)
    alone = ranked(tmp_path / "without", tmp_path / "alone", rows, plain)
    for row in rows:
        wanted = alone if row is rows[0] else whole
        assert of(found, row["_id"]) == of(wanted, row["_id"])


def of(rankings: list[dict[str, Any]], query: str) -> list[dict[str, Any]]:
    return [row for row in rankings if row["query_id"] == query]


@pytest.mark.parametrize("how", ["rrf", "max"])
def test_parts_leave_out_what_their_query_does(world: World, tmp_path: Path, how: str) -> None:
    whole = world.rows("queries")
    parts = [{"_id": f"{r['_id']}-p", "text": r["text"][:9], "parent": r["_id"]} for r in whole]
    rows = [*(row | {"not": GONE} for row in whole), *parts]
    asked = {"parent": "parent", "parts": how}
    given = settings(world, exclude="not", **asked)
    found = ranked(world.root / "index", tmp_path / "found", rows, given)
    plain = settings(world, **asked)
    assert found == ranked(world.root / "without", tmp_path / "wanted", [*whole, *parts], plain)


def test_each_query_has_its_own_list(world: World, tmp_path: Path) -> None:
    plain = settings(world, k=50)
    every = ranked(world.root / "index", tmp_path / "every", world.rows("queries"), plain)
    order: dict[str, list[str]] = {}
    for row in sorted(every, key=lambda row: row["retrieval_rank"]):
        order.setdefault(row["query_id"], []).append(row["doc_id"])
    lists = [order[name][n : 2 * n] for n, name in enumerate(order)]
    rows = [row | {"not": gone} for row, gone in zip(world.rows("queries"), lists, strict=True)]
    found = ranked(world.root / "index", tmp_path / "found", rows, settings(world, exclude="not"))
    for (name, docs), gone in zip(order.items(), lists, strict=True):
        mine = sorted((r["retrieval_rank"], r["doc_id"]) for r in found if r["query_id"] == name)
        assert [doc for _, doc in mine] == [doc for doc in docs if doc not in gone][:K]


def test_counts_add_up(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = world.rows("queries")
    rows[0]["not"], rows[1]["not"] = ["d0001", "d0002", "d0001"], ["d0002", "nobody", 7]
    queries = write_lines(tmp_path / "queries.jsonl", rows)
    given = settings(world, exclude="not")
    done = package.rank(world.root / "index", queries, tmp_path / "out", settings=given)
    assert done.excluded
    assert (done.excluded.queries, done.excluded.documents, done.excluded.absent) == (2, 4, 2)
    world_sets = ("search.k=5", "search.exclude=not", "reranker.model=off")
    words = ["rank", str(world.root / "index"), queries, str(tmp_path / "said")]
    sets = [w for s in (f"encoder.model={world.encoder}", *world_sets) for w in ("--set", s)]
    assert shardrank(*words, *sets) == 0
    told = " ".join("".join(capsys.readouterr()).split())
    said = "4 documents left out for 2 queries (search.exclude): 2 in the index + 2 not in it."
    assert said in told
    assert said in (tmp_path / "said/report.html").read_text("utf-8")
    assert shardrank("plan", *words[:3], *sets) == 0
    assert "up to 3 documents of a query" in " ".join("".join(capsys.readouterr()).split())


@pytest.mark.parametrize("wrong", ["d0001", 3, {"a": 1}, [1.5], [None], [True], [["d0001"]]])
def test_what_is_no_list_of_ids_sets_the_query_aside(
    world: World, tmp_path: Path, wrong: Any
) -> None:
    rows: list[dict[str, Any]] = world.rows("queries")
    rows[2]["not"], rows[3]["not"] = wrong, None
    queries = write_lines(tmp_path / "queries.jsonl", rows)
    given = settings(world, exclude="not")
    done = package.rank(world.root / "index", queries, tmp_path / "out", settings=given)
    assert done.rejected.select(["doc_id", "reason"]).to_pylist() == [
        {"doc_id": rows[2]["_id"], "reason": "exclude_not_ids"}
    ]
    assert done.counts.queries == len(rows) == done.counts.ranked + 1


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.int64())]
)
def test_parquet_has_lists_too(world: World, tmp_path: Path, kind: pa.DataType) -> None:
    whole = pa.types.is_integer(kind.value_type)
    rows, gone = world.rows("queries"), [17] if whole else ["d0001", "d0003"]
    lists = pa.array([gone, None, *[[]] * (len(rows) - 2)], kind)
    table = pa.Table.from_pylist(rows).append_column("not", lists)
    pq.write_table(table, tmp_path / "q.parquet", row_group_size=2)
    given = settings(world, exclude="not")
    done = package.rank(
        world.root / "index", tmp_path / "q.parquet", tmp_path / "out", settings=given
    )
    assert done.excluded
    assert (done.excluded.documents, done.excluded.absent) == (len(gone), int(whole))
    first = pq.read_table(tmp_path / "out/rankings", filters=[("query_id", "==", rows[0]["_id"])])
    assert not {"d0001", "d0003"} & set(first["doc_id"].to_pylist()) or whole


@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.float64()), pa.list_(pa.binary())])
def test_parquet_of_another_type_is_refused(
    world: World, tmp_path: Path, kind: pa.DataType
) -> None:
    rows = world.rows("queries")
    table = pa.Table.from_pylist(rows).append_column("not", pa.nulls(len(rows), kind))
    pq.write_table(table, tmp_path / "q.parquet")
    with pytest.raises(InputError, match=r"'not' \(search\.exclude\) holds .*, not lists of ids"):
        package.rank(
            world.root / "index",
            tmp_path / "q.parquet",
            tmp_path / "out",
            settings=settings(world, exclude="not"),
        )


def test_a_column_that_no_query_has_is_refused(world: World, tmp_path: Path) -> None:
    given = settings(world, exclude="not")
    with pytest.raises(InputError, match=r"search\.exclude = 'not', and no query has such"):
        ranked(world.root / "index", tmp_path / "out", world.rows("queries"), given)


def test_a_list_of_a_part_is_refused(world: World, tmp_path: Path) -> None:
    rows = [
        {"_id": "a", "text": "wing", "not": []},
        {"_id": "b", "text": "flow", "parent": "a", "not": ["d0001"]},
    ]
    given = settings(world, parent="parent", exclude="not")
    with pytest.raises(InputError, match="'b' is a part of another, and has a list of its own"):
        ranked(world.root / "index", tmp_path / "out", rows, given)


def test_no_label_is_drawn_from_what_is_excluded(world: World, tmp_path: Path) -> None:
    """Not even as a random negative or another query's positive; but who is judged to be relevant
    stays a positive."""
    rows = world.rows("queries")
    judged = dict(line.split("\t")[:2] for line in Path(world.qrels).read_text().splitlines()[1:])
    every = [row["_id"] for row in world.rows("corpus")]
    kept = {*every[:20], judged[rows[0]["_id"]]}
    lists = [[doc for doc in every if doc not in kept or doc == judged[r["_id"]]] for r in rows]
    asked = [row | {"not": each} for row, each in zip(rows, lists, strict=True)]
    queries = write_lines(tmp_path / "queries.jsonl", asked)
    drawn = {"teachers": ["retrieval"], "random_negatives": 8, "batch_negatives": 8}
    given = Settings.model_validate({**tables(world, exclude="not"), "label": drawn})
    out, labels = tmp_path / "out", tmp_path / "labels"
    package.rank(world.root / "index", queries, out, settings=given)
    package.label(out, labels, format="pointwise", qrels=world.qrels, settings=given)
    found = [row for path in labels.glob("scores/*.parquet") for row in rows_of(path)]
    assert {row["origin"] for row in found} >= {"positive", "random"}
    for row in found:
        excluded = row["doc_id"] in lists[[r["_id"] for r in rows].index(row["query_id"])]
        assert not excluded or row["doc_id"] == judged[row["query_id"]]


def rows_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found
