"""Queries of several parts, from their file to the rankings, against plain loops over what each
part finds alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shardrank as package
from shardrank.core.errors import InputError
from shardrank.core.settings import Settings
from tests.world import World, make_world, write_lines

pytestmark = pytest.mark.usefixtures("inline")

K = 6
Row = Mapping[str, Any]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: object
) -> World:
    made = make_world(tmp_path_factory.mktemp("parts"), models, documents=50, queries=6)
    package.index(made.corpus, made.root / "index", settings=settings(made))
    return made


def settings(world: World, retrievers: Sequence[str] = ("dense",), **search: Any) -> Settings:
    return Settings.model_validate(
        {
            "encoder": [{"model": str(world.encoder)}, {"family": "bm25"}],
            "passages": {"part_size": 16},
            "retriever": [{"index": name} for name in retrievers],
            "search": {"k": K, "block_queries": 2, **search},
            "reranker": [{"model": "off"}],
        }
    )


def parted(world: World) -> list[dict[str, Any]]:
    """The queries; of some of them each word is a part, written before and behind them."""
    whole: list[dict[str, Any]] = list(world.rows("queries"))
    parts = [
        {"_id": f"{row['_id']}-{n}", "text": word, "parent": row["_id"]}
        for row in whole[1:4]
        for n, word in enumerate(row["text"].split())
    ]
    return [parts[0], *whole, *parts[1:]]


def ranked(
    world: World, out: Path, rows: Sequence[Row], given: Settings
) -> dict[str, dict[str, float]]:
    """By query, the documents and their retrieval scores, by rank."""
    queries = write_lines(out.with_suffix(".jsonl"), rows)
    package.rank(world.root / "index", queries, out, settings=given)
    table = pq.read_table(out / "rankings")
    found: dict[str, dict[str, float]] = {}
    for row in table.sort_by([("query_id", "ascending"), ("rank", "ascending")]).to_pylist():
        found.setdefault(row["query_id"], {})[row["doc_id"]] = row["retrieval_score"]
    return found


def alone(world: World, out: Path, retriever: str) -> dict[str, dict[str, float]]:
    """What each row finds as a query of its own."""
    rows = [{**row, "parent": None} for row in parted(world)]
    return ranked(world, out, rows, settings(world, [retriever]))


def family(world: World, name: str) -> list[str]:
    return [name, *(r["_id"] for r in parted(world) if r.get("parent") == name)]


@pytest.mark.parametrize("retriever", ["dense", "bm25"])
def test_a_documents_largest_score_counts(world: World, tmp_path: Path, retriever: str) -> None:
    each = alone(world, tmp_path / "alone", retriever)
    given = settings(world, [retriever], parent="parent", parts="max")
    found = ranked(world, tmp_path / "parts", parted(world), given)
    assert set(found) == {row["_id"] for row in world.rows("queries")}
    for name, documents in found.items():
        best: dict[str, float] = {}
        for asked in family(world, name):
            for doc, score in each.get(asked, {}).items():
                best[doc] = max(score, best.get(doc, -np.inf))
        wanted = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:K]
        assert list(documents.items()) == wanted


def test_ranks_are_added_up(world: World, tmp_path: Path) -> None:
    each = alone(world, tmp_path / "alone", "dense")
    given = settings(world, ["dense"], parent="parent")
    found = ranked(world, tmp_path / "parts", parted(world), given)
    for name, documents in found.items():
        sums: dict[str, float] = {}
        for asked in family(world, name):
            for rank, doc in enumerate(each[asked], 1):
                sums[doc] = sums.get(doc, 0.0) + 1 / (60 + rank)
        wanted = sorted(sums.items(), key=lambda pair: (-np.float32(pair[1]), pair[0]))[:K]
        assert list(documents) == [doc for doc, _ in wanted]
        assert list(documents.values()) == pytest.approx([score for _, score in wanted])


def test_both_retrievers_see_the_parts(world: World, tmp_path: Path) -> None:
    """And each keeps a list of its own, for `tune`."""
    given = settings(world, ["dense", "bm25"], parent="parent", parts="max")
    found = ranked(world, tmp_path / "both", parted(world), given)
    assert {len(documents) for documents in found.values()} == {K}
    manifest = json.loads((tmp_path / "both" / "manifest.json").read_text("utf-8"))
    assert all(len(block["lists"]) == 2 for block in manifest["blocks"])


def test_counts_add_up_and_reasons_are_kept(world: World, tmp_path: Path) -> None:
    rows = [
        *parted(world),
        {"_id": "lost", "text": "wing", "parent": "nobody"},
        {"_id": "second", "text": "wing", "parent": "q001-0"},
        {"_id": "empty", "text": "​", "parent": "q001"},
    ]
    queries = write_lines(tmp_path / "queries.jsonl", rows)
    given = settings(world, parent="parent")
    done = package.rank(world.root / "index", queries, tmp_path / "out", settings=given)
    reasons = dict(
        zip(*(done.rejected[name].to_pylist() for name in ("doc_id", "reason")), strict=True)
    )
    assert reasons == {"lost": "unknown_parent", "second": "unknown_parent", "empty": "no_tokens"}
    counts = done.counts
    assert counts.parts == len(parted(world)) - 6
    assert counts.queries == len(rows) == counts.ranked + counts.hitless + counts.parts + 3
    assert "parts of these" in "\n".join(counts.lines())


def test_a_batch_whose_only_part_is_empty_is_ranked(world: World, tmp_path: Path) -> None:
    rows = [{"_id": "a", "text": "wing"}, {"_id": "b", "text": "\u200b", "parent": "a"}]
    queries = write_lines(tmp_path / "queries.jsonl", rows)
    given = settings(world, parent="parent")
    done = package.rank(world.root / "index", queries, tmp_path / "out", settings=given)
    assert (done.counts.ranked, done.counts.parts) == (1, 0)
    assert done.rejected["reason"].to_pylist() == ["no_tokens"]


@pytest.mark.parametrize("given", [{}, {"feedback": 1}])
def test_a_part_passes_over_its_querys_own_document(
    world: World, tmp_path: Path, given: dict[str, Any]
) -> None:
    """So a part is moved by what it finds but for that document."""
    [doc, text] = next((row["_id"], row["text"]) for row in world.rows("corpus"))
    rows = [{"_id": doc, "text": "wing"}, {"_id": "p", "text": text, "parent": doc}]
    how = settings(world, parent="parent", ignore_same_id=True, parts="max")
    moved = how.retriever[0].model_copy(update=given)
    found = ranked(world, tmp_path / "out", rows, how.model_copy(update={"retriever": (moved,)}))
    assert doc not in found[doc]
    markers = list((tmp_path / "out" / "units" / "first_merge").glob("*.json"))
    assert bool(markers) == bool(given)
    for marker in markers:
        made = json.loads(marker.read_text("utf-8"))["made"]
        hits = pq.read_table(tmp_path / "out" / made["hits"]["key"])
        assert doc not in hits["doc_id"].to_pylist()


def test_numbers_name_queries_too(world: World, tmp_path: Path) -> None:
    rows = [{"_id": 7, "text": "wing"}, {"_id": 8, "text": "flow", "parent": 7}]
    found = ranked(world, tmp_path / "out", rows, settings(world, parent="parent"))
    assert list(found) == ["7"]


def test_parquet_has_parts_too(world: World, tmp_path: Path) -> None:
    rows = [{"_id": "a", "text": "wing", "parent": None}, {"_id": "b", "text": "x", "parent": "a"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    given = settings(world, parent="parent")
    done = package.rank(
        world.root / "index", tmp_path / "q.parquet", tmp_path / "o", settings=given
    )
    assert (done.counts.ranked, done.counts.parts) == (1, 1)


def test_parents_that_are_numbers_in_parquet_are_refused(world: World, tmp_path: Path) -> None:
    rows = [{"_id": 1, "text": "wing", "parent": None}, {"_id": 2, "text": "x", "parent": 1}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    index, given = world.root / "index", settings(world, parent="parent")
    with pytest.raises(InputError, match=r"'parent' \(search\.parent\) holds int64, not text"):
        package.rank(index, tmp_path / "q.parquet", tmp_path / "o", settings=given)


@pytest.mark.parametrize("rows", [[{"_id": "a", "text": "wing"}]])
def test_a_batch_without_parts_is_refused(world: World, tmp_path: Path, rows: list[Row]) -> None:
    with pytest.raises(InputError, match=r"search\.parent = 'parent', and no query names another"):
        ranked(world, tmp_path / "out", rows, settings(world, parent="parent"))
