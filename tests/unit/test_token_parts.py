"""Parts of token vectors: exact search over them, what a shard finds in them, and its audit."""

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.errors import InputError
from shardrank.core.token_vectors import TokenVectors, lists, vector_lists
from shardrank.index import token_parts
from shardrank.index.blocks import PartBlock
from shardrank.index.documents import DocumentSearch, Reach
from shardrank.index.plaid import CentroidLists, PlaidShard, build_plaid
from shardrank.index.probe import PartPairs, nearest_by, probe
from shardrank.index.refine import refine_parts
from shardrank.index.token_parts import TokenPart, near_tokens, sweep_tokens
from shardrank.kernels.residual_codes import ResidualCodec, token_vectors
from shardrank.stages.index.token_questions import QUESTION_TOKENS, beginnings
from shardrank.version.recall import Grid, TokenCosts, recall_curve

DIM, CENTROIDS, PASSAGES = 8, 12, (9, 14)


def drawn(seed: int, texts: int, most: int = 6) -> TokenVectors:
    random = np.random.default_rng(seed)
    ends = np.concatenate([[0], np.cumsum(random.integers(1, most + 1, texts))])
    return TokenVectors(ends, random.standard_normal((ends[-1], DIM)).astype(np.float32))


def codec_of(seed: int) -> ResidualCodec:
    random = np.random.default_rng(seed)
    centroids = random.standard_normal((CENTROIDS, DIM)).astype(np.float32)
    weights = np.tile(np.float32([-0.6, -0.2, 0.2, 0.6]), (DIM, 1))
    return ResidualCodec(centroids, np.tile(np.float32([-0.4, 0, 0.4]), (DIM, 1)), weights, False)


def part_of(ordinal: int, rows: int, coded: bool) -> TokenPart:
    """Documents of one to three passages; the second row is deleted, the third has no token."""
    held = drawn(ordinal, rows)
    sizes = np.diff(held.ends)
    sizes[2] = 0
    held = TokenVectors(np.concatenate([[0], np.cumsum(sizes)]), held.vectors[: sizes.sum()])
    each = [3, *([2] * ((rows - 3) // 2)), *([1] * ((rows - 3) % 2))]
    first = np.cumsum(each) - each
    ids = [f"{ordinal}-{n:02d}" for n in range(len(each))]
    keys = pa.table({"doc_id": ids, "row": pa.array(first), "rows": pa.array(each)})
    live = np.arange(rows) != 1
    block = PartBlock.without_vectors(ordinal, keys, live, rows)
    if not coded:
        return TokenPart(block, vector_lists(held.ends, held.vectors.astype(np.float16)), None)
    codec = codec_of(0)
    codes = codec.encode(held.vectors)
    values = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(codec.width), len(codes), [None, pa.py_buffer(codes)]
    )
    return TokenPart(block, lists(held.ends, values), codec.to_bytes())


def parts_of(coded: bool) -> list[TokenPart]:
    return [part_of(n, rows, coded) for n, rows in enumerate(PASSAGES)]


def by_hand(queries: TokenVectors, parts: list[TokenPart], k: int) -> list[Any]:
    """(query, document, score) in order, of each document's best passage."""
    rows = []
    for query in range(queries.rows):
        best: dict[str, float] = {}
        for part in parts:
            held = token_vectors(part.column, part.codec)
            for row in np.flatnonzero(part.rows.live & (np.diff(held.ends) > 0)):
                score = float((queries.text(query) @ held.text(row).T).max(axis=1).sum())
                document = part.rows.doc_ids[int(row)].as_py()
                best[document] = max(score, best.get(document, -np.inf))
        ordered = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:k]
        rows += [(query, document, score) for document, score in ordered]
    return rows


def require_hits(found: pa.Table, wanted: list[Any]) -> None:
    got = [*zip(*(found[name].to_pylist() for name in ("query", "doc_id", "score")), strict=True)]
    assert [row[:2] for row in got] == [row[:2] for row in wanted]
    assert [row[2] for row in got] == pytest.approx([row[2] for row in wanted], abs=1e-4)


@pytest.mark.parametrize("coded", [False, True])
def test_exact_search(coded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, queries = parts_of(coded), drawn(9, 5, most=40)
    for k in (1, 4, 100):
        require_hits(sweep_tokens(queries, parts, k), by_hand(queries, parts, k))
    whole = sweep_tokens(queries, parts, 4)
    monkeypatch.setattr(token_parts, "_PAIRS", 7)
    monkeypatch.setattr(token_parts, "_COPIED", 3 * DIM)
    assert sweep_tokens(queries, parts, 4).equals(whole)


def test_queries_that_cannot_be_compared() -> None:
    parts, queries = parts_of(coded=True), drawn(9, 2)
    empty = TokenVectors(np.concatenate([queries.ends, queries.ends[-1:]]), queries.vectors)
    assert set(sweep_tokens(empty, parts, 3)["query"].to_pylist()) == {0, 1}
    queries.vectors[1, 1] = np.nan
    with pytest.raises(InputError, match=r"1 of .* token vectors of queries are not finite"):
        sweep_tokens(queries, parts, 3)


def shard_of(parts: list[TokenPart]) -> DocumentSearch:
    """Over all rows; each row's document, and the rows that are live."""
    codec, blocks, offset = codec_of(0), [], 0
    for part in parts:
        held = token_vectors(part.column, part.codec)
        numbers = codec.nearest(held.vectors)
        assert part.codec
        blocks.append((np.arange(part.rows.rows) + offset, held.ends, numbers))
        offset += part.rows.rows
    data = build_plaid(blocks, offset, CENTROIDS)

    def product(left: Any, right: Any) -> Any:
        return left.astype(np.int32) @ right.astype(np.int32).T

    loaded = PlaidShard(CentroidLists.load(data), codec.centroids, product)
    live = np.concatenate([part.rows.live for part in parts])
    return DocumentSearch(loaded, documents_of(parts), live)


def documents_of(parts: list[TokenPart]) -> Any:
    ids = [each for part in parts for each in part.rows.doc_ids.to_pylist()]
    return np.unique(ids, return_inverse=True)[1].astype(np.int32)


def test_a_shard_that_is_searched_to_the_end() -> None:
    parts, queries = parts_of(coded=True), drawn(9, 5, most=40)
    found = shard_of(parts).find(queries, Reach(CENTROIDS, 100, 3))
    scored = (part.scored(queries) for part in parts)
    refined = refine_parts(found, scored, [0, PASSAGES[0]])
    require_hits(refined.best(0, 5, 4), by_hand(queries, parts, 4))


def test_its_audit() -> None:
    """All is found where all is probed and refined, and less with less."""
    parts, queries = parts_of(coded=True), drawn(9, 6, most=3)
    pairs = [PartPairs(each.rows.rows, partial(near_tokens, queries, each, 7)) for each in parts]
    documents, own = documents_of(parts), np.full(6, -1, np.int32)
    near = nearest_by(6, pairs, [0, PASSAGES[0]], documents, 6, own)
    wanted = by_hand(queries, parts, 6)
    assert near.scores.ravel().tolist() == pytest.approx([row[2] for row in wanted], abs=1e-4)
    grid = Grid.of_tokens(CENTROIDS, 3, 12)
    assert grid.nprobes == (1, 2, 4, 8, 12)
    found = probe(shard_of(parts), queries, near, grid, 1)
    points = recall_curve(found, 3, grid, TokenCosts(21, CENTROIDS, DIM))
    assert points[-1].recall == 1
    assert points[0].recall < 1
    assert points[-1].cost > points[0].cost


def test_a_part_gives_few_pairs_but_all_of_the_best_documents() -> None:
    """Even where no query has a floor yet: thousands of questions would else keep every pair."""
    [part, _], queries = parts_of(coded=True), drawn(9, 5, most=40)
    none = np.full(5, -np.inf, np.float32)
    whole, best = ([*near_tokens(queries, part, k, none)] for k in (100, 2))
    assert sum(len(each.rows) for each in best) < sum(len(each.rows) for each in whole) / 2
    for query in range(5):
        scores = {
            int(row): score
            for each in whole
            for asked, row, score in zip(each.queries, each.rows, each.scores, strict=True)
            if asked == query
        }
        documents = part.rows.documents[[*scores]]
        firsts = {n: max(s for s, d in zip(scores.values(), documents, strict=True) if d == n)
                  for n in set(documents.tolist())}  # fmt: skip
        least = sorted(firsts.values())[-2]
        found = [row for each in best for row in each.rows[each.queries == query].tolist()]
        assert found == [row for row, score in scores.items() if score >= least]


def test_what_a_search_costs_grows_with_its_effort() -> None:
    costs = TokenCosts(1000, 4096, DIM)
    shares = [costs.met(nprobe) for nprobe in (0, 1, 8, 4096, 9999)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert costs.products(1, 10) < costs.products(2, 10) < costs.products(2, 11)
    assert costs.products(9999, 10) == costs.products(4096, 10)


def test_a_question_is_the_beginning_of_a_passage() -> None:
    held = drawn(0, 20, most=2 * QUESTION_TOKENS)
    asked = beginnings(held)
    for row in range(20):
        assert np.array_equal(asked.text(row), held.text(row)[:QUESTION_TOKENS])
