"""Metrics of benchmarks against what their authors' programs compute, written plainly here."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest
import pytrec_eval
from sklearn.metrics import average_precision_score, ndcg_score

from shardrank.core.benchmarks import BENCHMARKS
from shardrank.core.capped_ap import capped_ap
from shardrank.core.evaluation import Judgement
from shardrank.core.measured import evaluate
from shardrank.core.schemas import RANKINGS

Ranked = Mapping[str, Sequence[str]]
Grades = Mapping[str, Mapping[str, int]]


def drawn(
    queries: int, documents: int, relevant: int, most: int, seed: int = 0
) -> tuple[Ranked, Grades]:
    """Rankings of so many of twice as many documents, and grades of 0 to `most`; of the last query
    nothing is relevant."""
    rng = np.random.default_rng(seed)
    names = np.array([f"d{n}" for n in range(2 * documents)])
    ranked = {f"q{q}": rng.permutation(names)[:documents].tolist() for q in range(queries)}
    grades = {
        query: {
            doc: 0 if query == f"q{queries - 1}" else int(rng.integers(0, most + 1))
            for doc in rng.permutation(names)[:relevant].tolist()
        }
        for query in ranked
    }
    return ranked, grades


def measured(ranked: Ranked, grades: Grades, metrics: Sequence[str]) -> Mapping[str, float]:
    rows = [
        (query, doc, 0, rank, 0.5, rank, 0.5, None)
        for query, docs in ranked.items()
        for rank, doc in enumerate(docs, 1)
    ]
    columns = zip(zip(*rows, strict=True), RANKINGS, strict=True)
    table = pa.table([pa.array(c, f.type) for c, f in columns], schema=RANKINGS)
    judgements = [Judgement(q, d, grade) for q, of in grades.items() for d, grade in of.items()]
    return evaluate([table], judgements, metrics)["retrieved"]


def test_multi_cpr() -> None:
    """retrieval/evaluate.py: reciprocal ranks up to 10, and whether any is found up to 1,000."""
    ranked, grades = drawn(queries=30, documents=40, relevant=1, most=1)
    judged = {q: [d for d, grade in of.items() if grade] for q, of in grades.items()}
    judged = {query: docs for query, docs in judged.items() if docs}
    mrr, count = 0.0, 0
    for query, docs in judged.items():
        places = [n for n, doc in enumerate(ranked[query][:1000], 1) if doc in docs]
        mrr += 1 / places[0] if places and places[0] <= 10 else 0
        count += bool(places)
    positive = {query: dict.fromkeys(docs, 1) for query, docs in judged.items()}
    found = measured(ranked, positive, BENCHMARKS["multi-cpr"].metrics)
    wanted = {"RR@10": mrr / len(judged), "Success@1000": count / len(judged)}
    assert found == pytest.approx(wanted)
    assert 0 < found["RR@10"] < found["Success@1000"] < 1


def test_t2ranking() -> None:
    """src/msmarco_eval.py, whose judgements are those of 2 and 3; trec_eval -m ndcg_cut.5."""
    ranked, grades = drawn(queries=20, documents=120, relevant=30, most=3)
    positive = {q: {d for d, grade in of.items() if grade >= 2} for q, of in grades.items()}
    mrr, found50, found1000, every = 0.0, 0, 0, 0
    for query, docs in ranked.items():
        places = [n for n, doc in enumerate(docs) if doc in positive[query]]
        mrr += 1 / (places[0] + 1) if places and places[0] < 10 else 0
        found50 += sum(place < 50 for place in places)
        found1000 += len(places)
        every += len(positive[query])
    found = measured(ranked, grades, BENCHMARKS["t2ranking"].metrics)
    assert found["RR(rel=2)@10"] == pytest.approx(mrr / len(ranked))
    assert found["NumRet(rel=2)"] == found1000
    assert found["P(rel=2)@50"] * 50 * len(ranked) == pytest.approx(found50)
    assert 0 < found50 < found1000 < every
    run = {q: {d: -float(n) for n, d in enumerate(docs)} for q, docs in ranked.items()}
    theirs = pytrec_eval.RelevanceEvaluator(grades, {"ndcg_cut.5"}).evaluate(run)
    mean = np.mean([each["ndcg_cut_5"] for each in theirs.values()])
    assert found["nDCG@5"] == pytest.approx(mean)


def test_bright() -> None:
    """retrievers.py: get_scores pops what is excluded and keeps 1,000, calculate_retrieval_metrics
    is pytrec_eval's."""
    ranked, grades = drawn(queries=20, documents=60, relevant=12, most=1)
    grades = {q: {d: 1 for d, grade in of.items() if grade} for q, of in grades.items()}
    excluded = {q: [d for d in docs if d not in grades[q]][:3] for q, docs in ranked.items()}
    left = {q: [d for d in docs if d not in excluded[q]] for q, docs in ranked.items()}
    judged = {query: of for query, of in grades.items() if of}
    found = measured(left, judged, BENCHMARKS["bright"].metrics)
    scores = {q: {d: -float(n) for n, d in enumerate(docs)} for q, docs in ranked.items()}
    for query, docs in excluded.items():
        for doc in docs:
            scores[query].pop(doc)
    names = {"ndcg_cut.10", "recall.100", "recip_rank"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, names).evaluate(scores)
    for name, mine in {"ndcg_cut_10": "nDCG@10", "recall_100": "R@100", "recip_rank": "RR"}.items():
        assert found[mine] == pytest.approx(np.mean([each[name] for each in theirs.values()]))


def inquire(found: Sequence[bool], relevant: int) -> tuple[float, float, float, float]:
    """src/metrics.py, compute_retrieval_metrics: precision, AP, nDCG, reciprocal rank at k."""
    k, y_true = len(found), np.array(found)
    y_pred = -np.arange(k, dtype=float)
    precision = average_precision_score(y_true, y_pred) if y_true.any() else 0.0
    ap = precision * y_true.sum() / min(relevant, k)
    unknown = relevant - int(y_true.sum())
    ndcg = ndcg_score(
        [[*y_true.tolist(), *[1] * unknown]], [[*y_pred.tolist(), *[-100.0] * unknown]], k=k
    )
    rank = 1 / (1 + int(y_true.argmax())) if y_true.any() else 0.0
    return float(y_true.mean()), float(ap), float(ndcg), rank


@pytest.mark.parametrize("relevant", [30, 140])
def test_inquire(relevant: int) -> None:
    """Fewer relevant pictures than 50, and more."""
    ranked, grades = drawn(queries=8, documents=90, relevant=relevant, most=2)
    grades = {q: {d: 1 for d, grade in of.items() if grade} for q, of in grades.items()}
    judged = {query: of for query, of in grades.items() if of}
    each = [
        inquire([doc in of for doc in ranked[query][:50]], len(of)) for query, of in judged.items()
    ]
    found = measured(ranked, judged, BENCHMARKS["inquire"].metrics)
    wanted = dict(zip(("P@50", "CappedAP@50", "nDCG@50", "RR@50"), np.mean(each, 0), strict=True))
    assert found == pytest.approx(wanted)


def test_inquire_rerank() -> None:
    """eval_clip_rerank_hf.py: of each query its own pictures, all judged, whatever else is
    ranked."""
    ranked, grades = drawn(queries=8, documents=300, relevant=100, most=1)
    full = {q: [*docs, *(d for d in grades[q] if d not in docs)] for q, docs in ranked.items()}
    judged = {query: of for query, of in grades.items() if any(of.values())}
    each = []
    for query, of in judged.items():
        own = [bool(of[doc]) for doc in full[query] if doc in of]
        each.append(inquire(own, sum(own))[1:])
    found = measured(full, judged, BENCHMARKS["inquire-rerank"].metrics)
    assert list(found.values()) == pytest.approx(np.mean(each, 0).tolist())


def test_average_precision_is_divided_by_what_k_can_hold() -> None:
    found = np.array([True, False, True, False])
    assert capped_ap(found, 2) == pytest.approx((1 + 2 / 3) / 2)
    assert capped_ap(found, 100) == pytest.approx((1 + 2 / 3) / 4)
    assert capped_ap(np.zeros(4, np.bool_), 3) == 0.0


def test_the_capped_measure_counts_from_a_grade() -> None:
    ranked = {"q": ["a", "b", "c"], "r": ["x"]}
    grades = {"q": {"a": 1, "b": 2, "c": 2}, "r": {"y": 1}, "s": {"a": 2}}
    found = measured(ranked, grades, ["CappedAP@2", "CappedAP(rel=2)@2"])
    assert found == pytest.approx({"CappedAP@2": 1 / 3, "CappedAP(rel=2)@2": 0.5 / 2 / 3})
