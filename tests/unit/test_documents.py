"""Search that counts documents, against plain loops; and the audit's probe of it."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.index import documents as module
from shardrank.index import probe as probes
from shardrank.index.best_rows import CompiledSelector
from shardrank.index.blocks import PartBlock
from shardrank.index.documents import DocumentSearch, Reach, ShardHits
from shardrank.index.exact import sweep_topk
from shardrank.index.nearest import by_products
from shardrank.index.probe import nearest_documents, probe
from shardrank.index.refine import refine
from shardrank.index.shard import LoadedShard
from shardrank.models.forward.products import int8_product
from shardrank.version.recall import CostModel, Grid, followed, recall_curve

DIM, NLIST = 16, 8


@dataclass(frozen=True, eq=False)
class Collection:
    """A shard of two parts whose documents have 1 to `longest` passages, near to one another."""

    shard: LoadedShard
    parts: list[PartBlock]
    numbers: Any
    live: Any

    @classmethod
    def made(cls, seed: int, counts: Any, name: str, dead: float = 0.0) -> "Collection":
        rng = np.random.default_rng(seed)
        numbers = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        vectors = unit(rng.normal(size=(len(counts), DIM))[numbers] + noise(rng, len(numbers), 0.6))
        live = (rng.random(len(counts)) >= dead)[numbers]
        index = loaded(codec(name))
        index.add_with_ids(vectors, np.arange(len(vectors)))
        border = int(np.cumsum(counts)[len(counts) // 2])
        parts = [
            block(n, numbers[s], vectors[s], live[s])
            for n, s in enumerate([slice(0, border), slice(border, None)])
        ]
        data = bytes(faiss.serialize_index(index))
        return cls(LoadedShard.load(data, CompiledSelector(int8_product)), parts, numbers, live)

    @property
    def offsets(self) -> list[int]:
        return [0, self.parts[0].rows]

    def search(self) -> DocumentSearch:
        return DocumentSearch(self.shard, self.numbers, self.live)

    def live_documents(self) -> int:
        return len(np.unique(self.numbers[self.live]))


def block(ordinal: int, numbers: Any, vectors: Any, live: Any) -> PartBlock:
    ids = pa.array([f"d{number:05d}" for number in numbers], pa.string())
    passages = (np.arange(len(numbers)) - np.searchsorted(numbers, numbers)).astype(np.int32)
    return PartBlock(ordinal, ids, passages, vectors, live)


def noise(rng: Any, rows: int, size: float) -> Any:
    return rng.normal(size=(rows, DIM)) * size


def unit(vectors: Any) -> Any:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@cache
def codec(name: str) -> bytes:
    """Trained once, on one thread."""
    faiss.omp_set_num_threads(1)
    made = faiss.index_factory(DIM, name, faiss.METRIC_INNER_PRODUCT)
    faiss.extract_index_ivf(made).by_residual = False
    made.train(unit(np.random.default_rng(1).normal(size=(2000, DIM))))
    return bytes(faiss.serialize_index(made))


def loaded(data: bytes) -> Any:
    return faiss.deserialize_index(np.frombuffer(data, np.uint8))


def uneven(seed: int, documents: int, longest: int) -> Any:
    """Most have one passage, one has the most."""
    rng = np.random.default_rng(seed)
    counts = np.ceil(longest ** rng.random(documents) ** 3).astype(int)
    counts[rng.integers(documents)] = longest
    return counts


def asked(made: Collection, seed: int, count: int) -> Any:
    rng = np.random.default_rng(seed)
    stored = np.concatenate([part.vectors for part in made.parts])
    return unit(stored[rng.integers(0, len(stored), count)] + noise(rng, count, 0.1))


def plain_find(made: Collection, query: Any, reach: Reach) -> list[int]:
    """One passage after another, until enough documents were met."""
    nprobe = reach.nprobe
    while True:
        ranked = made.shard.search(query[None], nprobe, made.shard.size, made.live)[0]
        met: list[int] = []
        taken = []
        for position in ranked[ranked >= 0].tolist():
            if len(met) == reach.depth:
                break
            taken.append(position)
            if made.numbers[position] not in met:
                met.append(made.numbers[position])
        if len(met) >= reach.least or nprobe >= NLIST:
            return taken
        nprobe *= 2


def rows(found: ShardHits) -> list[list[int]]:
    return [found.of(q, q + 1).positions.tolist() for q in range(len(found.ends) - 1)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    documents=st.integers(2, 60),
    longest=st.sampled_from([1, 2, 9, 70]),
    nprobe=st.integers(1, 10),
    depth=st.integers(1, 70),
    dead=st.sampled_from([0.0, 0.4]),
    data=st.data(),
)
def test_finds_what_plain_loops_find(
    seed: int, documents: int, longest: int, nprobe: int, depth: int, dead: float, data: Any
) -> None:
    made = Collection.made(seed, uneven(seed, documents, longest), "IVF8,PQ4x4", dead)
    least = data.draw(st.integers(0, min(depth, made.live_documents())))
    queries, reach = asked(made, seed, 5), Reach(nprobe, depth, least)
    found = made.search().find(queries, reach)
    assert rows(found) == [plain_find(made, query, reach) for query in queries]
    for positions in rows(found):
        assert len(set(made.numbers[positions])) >= least


@pytest.mark.parametrize("longest", [1, 300])
def test_neither_the_batch_nor_what_is_tried_first_changes_anything(
    longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Collection.made(3, uneven(3, 400, longest), "IVF8,SQ8", 0.2)
    queries, reach = asked(made, 4, 40), Reach(1, 30, 12)
    whole = rows(made.search().find(queries, reach))
    assert [rows(made.search().find(query[None], reach))[0] for query in queries] == whole
    for tried, at_once in [(1, 100), (7, 5000), (50, 1)]:
        monkeypatch.setattr(module, "_TRIED", tried)
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        assert rows(made.search().find(queries, reach)) == whole


def test_one_document_that_is_nearest_with_all_its_passages_takes_one_place() -> None:
    rng = np.random.default_rng(0)
    made = Collection.made(0, [2000, *[1] * 500], "IVF8,SQ8")
    query = unit(made.parts[0].vectors[:2000].mean(axis=0) + noise(rng, 1, 0.01))
    found = made.search().find(query, Reach(2, 100, 100))
    assert len(np.unique(made.numbers[found.positions])) == 100


def test_no_queries_and_an_empty_shard() -> None:
    made = Collection.made(0, [1, 1, 1], "IVF8,SQ8")
    assert rows(made.search().find(np.empty((0, DIM), np.float32), Reach(1, 3, 3))) == []
    empty = LoadedShard.load(codec("IVF8,SQ8"), CompiledSelector(int8_product))
    nothing = DocumentSearch(empty, np.empty(0, np.int32), None)
    assert rows(nothing.find(np.ones((2, DIM), np.float32), Reach(1, 3, 0))) == [[], []]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    longest=st.sampled_from([1, 9, 70]),
    nprobes=st.lists(st.integers(1, 10), min_size=1, max_size=5, unique=True).map(sorted),
    depth=st.integers(1, 60),
)
def test_many_reaches_at_once_find_what_each_finds(
    seed: int, longest: int, nprobes: list[int], depth: int
) -> None:
    made = Collection.made(seed, uneven(seed, 50, longest), "IVF8,PQ4x4", 0.3)
    least = min(depth, made.live_documents()) // 2
    reaches = [Reach(nprobe, depth, least) for nprobe in nprobes]
    search, queries = made.search(), asked(made, seed, 5)
    together = search.find_each(queries, reaches)
    assert [rows(found) for found in together] == [rows(search.find(queries, r)) for r in reaches]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 70]), st.integers(1, 40))
def test_places_are_the_least_depths(seed: int, longest: int, depth: int) -> None:
    made = Collection.made(seed, uneven(seed, 40, longest), "IVF8,PQ4x4", 0.2)
    search, queries = made.search(), asked(made, seed, 4)
    deep = search.find(queries, Reach(2, 40, 0))
    places = search.places(deep)
    shallow = search.find(queries, Reach(2, depth, 0))
    assert [
        deep.positions[a:b][places[a:b] <= depth].tolist()
        for a, b in zip(deep.ends, deep.ends[1:], strict=False)
    ] == rows(shallow)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 70]), st.integers(1, 50))
def test_nearest_documents_are_those_of_exact_search(seed: int, longest: int, n: int) -> None:
    made = Collection.made(seed, uneven(seed, 40, longest), "IVF8,SQ8", 0.2)
    queries = asked(made, seed, 4)
    own = np.array([-1, 0, 7, 39], np.int32)
    near = nearest_documents(queries, made.parts, made.offsets, made.numbers, n, own, int8_product)
    for number, query in enumerate(queries):
        hits = sweep_topk(query[None], made.parts, n + 1, by_products(int8_product))
        others = [
            (int(doc[1:]), score)
            for doc, score in zip(
                hits["doc_id"].to_pylist(), hits["score"].to_pylist(), strict=True
            )
            if int(doc[1:]) != own[number]
        ][:n]
        padding = [-np.inf] * (n - len(others))
        assert near.scores[number].tolist() == [score for _, score in others] + padding
        mine = near.passages.queries == number
        best = dict.fromkeys(range(len(others)), -np.inf)
        for place, score in zip(near.places[mine], near.passages.scores[mine], strict=True):
            best[int(place)] = max(best[int(place)], float(score))
        assert list(best.values()) == [score for _, score in others]
        named = {
            int(p): int(d)
            for p, d in zip(near.places[mine], near.passages.documents[mine], strict=True)
        }
        assert [named[place] for place in range(len(others))] == [
            document for document, _ in others
        ]


def test_when_passages_are_sorted_out_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Collection.made(4, uneven(4, 60, 200), "IVF8,SQ8", 0.2)
    queries, nobody = asked(made, 4, 6), np.full(6, -1, np.int32)
    given = queries, made.parts, made.offsets, made.numbers, 20, nobody, int8_product
    late = nearest_documents(*given)
    monkeypatch.setattr(probes, "_UNSORTED", 0)
    early = nearest_documents(*given)
    assert late.scores.tolist() == early.scores.tolist()
    assert late.passages.positions.tolist() == early.passages.positions.tolist()
    assert late.places.tolist() == early.places.tolist()


@pytest.mark.parametrize("name", ["IVF8,PQ4x4", "IVF8,SQ8"])
@pytest.mark.parametrize("longest", [1, 40])
def test_the_audits_recall_is_what_users_get(name: str, longest: int) -> None:
    """At every effort, to the last document where enough of the nearest are found, else a little
    less; and never more."""
    made = Collection.made(5, uneven(5, 500, longest), name, 0.1)
    k, queries, nobody = 10, asked(made, 6, 60), np.full(60, -1, np.int32)
    n, grid, least = followed(k), Grid([1, 2, 4, 8], [10, 40, 160]), 10
    near = nearest_documents(
        queries, made.parts, made.offsets, made.numbers, n, nobody, int8_product
    )
    measured = probe(made.search(), queries, near, grid, least)
    exact = documents(sweep_topk(queries, made.parts, k, by_products(int8_product)))
    compared = 0
    for point in recall_curve(measured, k, grid, CostModel(1, NLIST, DIM)):
        hits = made.search().find(queries, Reach(point.nprobe, point.depth, least))
        refined = refine(queries, hits, made.parts, made.offsets)
        given = documents(refined.best(0, len(queries), k))
        assert all(len(mine) == k for mine in given.values())
        recall = np.mean([len(given[q] & exact[q]) / k for q in exact])
        assert point.recall <= recall + 1e-9
        if point.recall > 0.75:
            compared += 1
            assert point.recall == pytest.approx(recall, abs=1e-9)
    assert compared >= 2
    assert measured.hits[-1, -1] == len(made.search().find(queries, Reach(8, 160, 10)).positions)


def documents(hits: Any) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for row in hits.to_pylist():
        found.setdefault(row["query"], set()).add(row["doc_id"])
    return found


def test_a_question_does_not_look_for_its_own_document() -> None:
    made = Collection.made(5, uneven(5, 100, 30), "IVF8,SQ8")
    stored = np.concatenate([part.vectors for part in made.parts])
    own = made.numbers[::7].copy()
    near = nearest_documents(
        stored[::7], made.parts, made.offsets, made.numbers, 20, own, int8_product
    )
    assert not (near.passages.documents == own[near.passages.queries]).any()
    assert np.isfinite(near.scores).all()
