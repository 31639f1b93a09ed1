"""Metrics by name: what is known, what is refused, and what ir-measures must not mix up."""

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
from ir_measures import AP, Qrel, R, ScoredDoc, nDCG

from shardrank.core import measured
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.evaluate_settings import DEFAULT_METRICS
from shardrank.core.evaluation import Judgement
from shardrank.core.measured import evaluate, per_query, pieces
from shardrank.core.measures import cutoff, measure
from shardrank.core.overrides import parse_settings
from shardrank.core.schemas import RANKINGS


def metrics_of(text: str) -> tuple[str, ...]:
    return parse_settings({}, [f"evaluate.metrics={text}"]).evaluate.metrics


def made(queries: int, documents: int, seed: int = 0) -> tuple[pa.Table, list[Judgement]]:
    """Rankings in which the reranker shuffles, and graded judgements, some of unranked queries."""
    rng = np.random.default_rng(seed)
    rows = []
    for query in range(queries):
        ranks = rng.permutation(documents) + 1
        for place, doc in enumerate(rng.permutation(3 * documents)[:documents]):
            name, rank = f"{chr(65 + doc % 26)}-{doc}", int(ranks[place])
            rows.append((f"q{query}", name, 0, rank, 0.5, place + 1, 0.5, 1.0))
    rng.shuffle(rows)
    columns = [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), RANKINGS, strict=True)]
    judgements = [
        Judgement(f"q{query}", f"{chr(65 + doc % 26)}-{doc}", int(rng.integers(-1, 4)))
        for query in range(queries + 2)
        for doc in rng.permutation(3 * documents)[:documents]
    ]
    return pa.table(columns, schema=RANKINGS), judgements


def test_names_are_those_of_ir_measures() -> None:
    assert measure("AP(rel=2)@100") == AP(rel=2) @ 100
    assert measure("Recall@1000") == R @ 1000
    assert [cutoff(name) for name in (*DEFAULT_METRICS, "AP", "IPrec@0.1")] == [
        10, 10, 100, None, None
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ndcg@10", "Did you mean nDCG@10? "),
        ("Recal@5", "Did you mean Recall@5? "),
        ("nDCG@10;", "Did you mean nDCG@10;? "),
        ("zzz", "ir-measures knows Accuracy, alpha_DCG"),
        ("P", "invalid param cutoff=nothing"),
        ("P@0", "cutoff must be 1 at least"),
        ("nDCG@1.5", "cannot be computed"),
        ("AP(rel=0)", "rel must be 1 at least"),
        ("nDCG(gains={1:-5})@10", "gains must lie between"),
        ("nDCG(__import__('os'))@10", "parameters have the form"),
        ("nDCG(gains=open)@10", "malformed"),
        ("P@5)(", "There is no metric"),
        ("alpha_nDCG@10", "pip install ir-measures"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(name: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({"evaluate": {"metrics": [name]}}, [])
    assert name in caught.value.message
    assert words in caught.value.message + caught.value.hint


def test_an_override_is_cut_at_commas_outside_of_brackets() -> None:
    assert metrics_of("nDCG(gains={1:5,2:10})@10, AP") == ("nDCG(gains={1:5,2:10})@10", "AP")
    with pytest.raises(SettingsError, match="AP twice"):
        metrics_of("AP,P@1,AP")


@pytest.mark.parametrize("rows", [7, 1 << 16])
def test_any_piece_gives_what_one_call_of_ir_measures_gives(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "ROWS", rows)
    table, judgements = made(queries=9, documents=12)
    names = ("nDCG@10", "AP", "R@1000", "Bpref", "AP(rel=2)@5", "SetF(beta=2.0)", "RR@3")
    found = evaluate([table.slice(0, 0), table], judgements, names)
    qrels = [Qrel(j.query_id, j.doc_id, j.relevance) for j in judgements]
    for order, rank in (("retrieved", "retrieval_rank"), ("reranked", "rank")):
        columns = (table[name].to_pylist() for name in ("query_id", "doc_id", rank))
        run = [ScoredDoc(q, d, -float(r)) for q, d, r in zip(*columns, strict=True)]
        for name in names:
            wanted = ir_measures.calc_aggregate([measure(name)], qrels, run)[measure(name)]
            assert found[order][name] == pytest.approx(wanted, abs=1e-12)


def test_gains_of_one_metric_are_not_lent_to_another() -> None:
    table, judgements = made(queries=5, documents=10)
    alone = evaluate([table], judgements, ["nDCG@10"])
    names = ["nDCG(gains={1:9,2:1,3:0})@10", "nDCG@10", "nDCG(judged_only=True)@10", "AP(rel=3)"]
    both = evaluate([table], judgements, names)
    assert both["retrieved"]["nDCG@10"] == alone["retrieved"]["nDCG@10"]
    assert both["retrieved"][names[0]] != alone["retrieved"]["nDCG@10"]
    assert measure(names[0]) == nDCG(gains={1: 9, 2: 1, 3: 0}) @ 10


def test_each_judged_query_has_its_value() -> None:
    table, judgements = made(queries=4, documents=6)
    found = per_query([table], judgements, ["nDCG@10", "NumRet"])
    assert set(found.queries[:4]) == {"q0", "q1", "q2", "q3"}
    assert (found.ranked, list(found.queries[4:])) == (4, ["q4", "q5"])
    values = found.values["reranked"]
    assert values["NumRet"].tolist() == [6, 6, 6, 6, 0, 0]
    assert found.means()["reranked"]["NumRet"] == 24  # a count, which ir-measures adds up
    for place, query in enumerate(found.queries[:4]):
        mine = table.filter(pa.compute.equal(table["query_id"], query))
        own = [j for j in judgements if j.query_id == query]
        assert evaluate([mine], own)["reranked"]["nDCG@10"] == values["nDCG@10"][place]


def test_pieces_keep_a_querys_rows_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "ROWS", 5)
    table, _ = made(queries=6, documents=3)
    cut = list(pieces(table))
    assert len(cut) > 1
    assert sorted(pa.concat_tables(cut).to_pylist(), key=str) == sorted(table.to_pylist(), key=str)
    names = [set(piece["query_id"].to_pylist()) for piece in cut]
    assert sum(map(len, names)) == len(set.union(*names)) == 6
    assert list(pieces(table.slice(0, 0))) == []


def test_judgements_that_a_metric_cannot_take_are_told() -> None:
    """gdeval knows grades up to 4."""
    table, _ = made(queries=1, documents=3)
    judgements = [Judgement("q0", table["doc_id"][0].as_py(), 9)]
    with pytest.raises(InputError, match=r"ERR@10 cannot be computed with these judgements"):
        evaluate([table], judgements, ["ERR@10"])


@pytest.mark.parametrize("name", ["7", "q7", "PLAIN-7", "sept 7"])
def test_ids_of_queries_and_documents_change_nothing(name: str) -> None:
    """gdeval reads numbers, and of a hyphen only what stands behind it."""
    ids = [f"{name} {n}" for n in range(3)]
    table, _ = made(queries=1, documents=3)
    table = table.set_column(0, "query_id", pa.array([name] * 3))
    table = table.set_column(table.column_names.index("doc_id"), "doc_id", pa.array(ids))
    found = evaluate([table], [Judgement(name, ids[1], 1)], ["ERR@10", "nDCG@10"])
    assert found["reranked"]["ERR@10"] == pytest.approx(0.0625 / 2)
