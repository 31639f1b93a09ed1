"""The worker that scores pairs by a column: what has no score, and what a column must be."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.cards import (
    Bm25Card,
    ColumnCard,
    EncoderCard,
    LateCard,
    ReadColumn,
    RerankerCard,
    SparseCard,
)
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.reranker_settings import MaxsimSettings, TermsSettings
from shardrank.core.token_vectors import TokenVectors
from shardrank.core.units import Unit
from shardrank.models.rerankers.beside import Beside, HeldColumn
from shardrank.models.rerankers.maxsim import read_maxsim
from shardrank.models.rerankers.terms import read_terms
from shardrank.stages.rank.rerank_columns import ColumnsSpec, PartValues, RerankColumns
from shardrank.stages.rank.rerank_plan import BlockPairs, Scores
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.storage.local import LocalStorage

CARD = RerankerCard(
    name="maxsim of late",
    fingerprint="f",
    weights_sha256="w",
    tokeniser_fingerprint="t",
    max_tokens=32,
    interpolation=1.0,
    prompt="",
    dtype="fp32",
    family="maxsim",
    sees="columns",
    reads=ReadColumn("late", 4),
)


def _tokens(sizes: list[int], seed: int) -> TokenVectors:
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    drawn = np.random.default_rng(seed).integers(-8, 9, (ends[-1], 4))
    return TokenVectors(ends, drawn.astype(np.float32))


def _scored(
    folder: Path, queries: TokenVectors, parts: list[TokenVectors], pairs: pa.Table
) -> Result[Scores]:
    """What a unit over these parts makes of a block's pairs."""
    workspace = Workspace(LocalStorage(str(folder)))

    def written(name: str, values: pa.Array) -> pa.Table:
        return workspace.write_table(f"{name}.parquet", pa.table({"vector": values}))

    refs = [written(f"part-{n}", part.array(pa.float16())) for n, part in enumerate(parts)]
    asked = written("queries", queries.array(pa.float32()))
    block = BlockPairs(0, asked, (workspace.write_table("pairs.parquet", pairs),))
    values = tuple(PartValues(n, ref) for n, ref in enumerate(refs))
    spec = ColumnsSpec(values, (block,), 3, "f", None)
    return RerankColumns(workspace, workspace, CARD, None)(Unit("rerank", spec), {})


def _pairs(*rows: tuple[int, int, int, int]) -> pa.Table:
    columns = np.array(rows, np.int32).T
    names = ("query", "part", "row", "rank")
    return pa.table({name: pa.array(each) for name, each in zip(names, columns, strict=True)})


def test_a_passage_or_query_without_tokens_has_no_score_and_is_counted(tmp_path: Path) -> None:
    queries, parts = _tokens([3, 2, 0], 1), [_tokens([2, 0, 5], 2), _tokens([1, 4], 3)]
    rows = ((0, 0, 2, 1), (0, 0, 1, 2), (0, 1, 1, 3), (0, 1, 0, 4), (1, 1, 1, 1), (2, 1, 1, 1))
    made = _scored(tmp_path, queries, parts, _pairs(*rows))
    assert made.counts == {"rows": 5, "truncated": 0, "not_finite": 2}
    table = pq.read_table(tmp_path / made.made.blocks[0].scores.key)
    found = {(r["query"], r["part"], r["row"]): r["logit"] for r in table.to_pylist()}
    assert {pair for pair, logit in found.items() if np.isnan(logit)} == {(0, 0, 1), (2, 1, 1)}
    for query, part, row in ((0, 0, 2), (0, 1, 1), (1, 1, 1)):
        products = queries.text(query) @ parts[part].text(row).T
        assert found[query, part, row] == products.max(axis=1).sum()


def test_pairs_may_all_lie_deeper_than_is_reranked(tmp_path: Path) -> None:
    made = _scored(tmp_path, _tokens([3], 1), [_tokens([2], 2)], _pairs((0, 0, 0, 9)))
    assert made.counts == {"rows": 0, "truncated": 0, "not_finite": 0}


def test_nothing_but_empty_passages_is_the_columns_fault(tmp_path: Path) -> None:
    parts, rows = [_tokens([0] * 20, 1)], [(0, 0, n, 1) for n in range(20)]
    with pytest.raises(InputError, match="gives no finite score") as refused:
        _scored(tmp_path, _tokens([3], 1), parts, _pairs(*rows))
    assert "without tokens has no score" in str(refused.value.hint)


def _late(fingerprint: str = "late") -> LateCard:
    return LateCard(
        name="m",
        fingerprint=fingerprint,
        weights_sha256="w",
        tokeniser_fingerprint="t",
        dim=4,
        max_tokens=32,
        query_max_tokens=32,
        query_prompt="",
        document_prompt="",
        dtype="fp32",
        pool=1.0,
        stored="fp16",
        normalised=True,
    )


def test_its_card_holds_what_decides_scores() -> None:
    settings = MaxsimSettings(interpolation=0.5)
    columns = (HeldColumn(_late()), HeldColumn(_late("other")), HeldColumn(_late(), codec="c"))
    cards = [read_maxsim(settings, Beside(columns={"late": each})) for each in columns]
    assert len({card.fingerprint for card in cards}) == 3
    assert cards[0].reads == ReadColumn("late", 4)
    assert (cards[0].sees, cards[0].alone, cards[0].interpolation) == ("columns", True, 0.5)


def test_a_column_of_no_token_vectors_is_refused() -> None:
    dense = EncoderCard("m", "f", "w", "t", 4, 32, 32, "mean", True, "", "", "fp32")
    with pytest.raises(SettingsError, match="a column of family dense") as refused:
        read_maxsim(MaxsimSettings(of="dense"), Beside(columns={"dense": HeldColumn(dense)}))
    assert "an [[encoder]] of family late" in str(refused.value.hint)


def _bm25(fingerprint: str = "words") -> Bm25Card:
    return Bm25Card("bm25", fingerprint, "english", "keep")


def _sparse(fingerprint: str = "terms") -> SparseCard:
    return SparseCard("m", fingerprint, "w", "t", 30, 32, 16, "", "", "fp32")


def _terms(card: ColumnCard, counts: str = "", **given: Any) -> RerankerCard:
    beside = Beside(columns={"c": HeldColumn(card, counts=counts)})
    return read_terms(TermsSettings(of="c", **given), beside)


def test_a_card_of_terms_holds_what_decides_scores() -> None:
    cards = [
        _terms(_sparse()),
        _terms(_sparse("other")),
        _terms(_bm25(), "a"),
        _terms(_bm25(), "b"),
        _terms(_bm25(), "a", k1=1.2),
        _terms(_bm25(), "a", b=0.4),
    ]
    assert len({card.fingerprint for card in cards}) == len(cards)
    assert (cards[0].sees, cards[0].alone, cards[0].reads) == ("columns", True, ReadColumn("c", 0))
    assert cards[0].score == "the products of the weights of its terms"
    assert _terms(_sparse(), interpolation=0.5).fingerprint == cards[0].fingerprint


def test_terms_of_what_has_none_are_refused() -> None:
    columns = {"late": HeldColumn(_late()), "words": HeldColumn(_bm25())}
    with pytest.raises(SettingsError, match="a column of family late") as refused:
        read_terms(TermsSettings(of="late"), Beside(columns=columns))
    assert refused.value.hint == "Columns of terms: words."
    with pytest.raises(SettingsError, match="no such column") as refused:
        read_terms(TermsSettings(), Beside())
    assert "an [[encoder]] of family sparse or bm25" in str(refused.value.hint)
    with pytest.raises(SettingsError, match=r"sets b, and 'c' holds weights"):
        _terms(_sparse(), b=0.4)
