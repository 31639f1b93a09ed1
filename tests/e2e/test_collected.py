"""BRIGHT from its files to its score, by whole commands, against what its run.py does."""

import json
import random
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytrec_eval

from tests.world import VOCABULARY, shardrank

pytestmark = pytest.mark.usefixtures("inline")

Rows = list[dict[str, Any]]
METRICS = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "RR": "recip_rank"}


def published(root: Path) -> tuple[Rows, Rows]:
    """Documents and examples, most of which exclude something."""
    rng = random.Random(4)
    documents = [
        {"id": f"web/page_{n}.txt", "content": " ".join(rng.choices(VOCABULARY, k=12))}
        for n in range(40)
    ]
    examples = []
    for n in range(6):
        near = rng.sample(documents, 9)
        words = [word for each in near for word in each["content"].split()]
        names = [each["id"] for each in near]
        examples.append(
            {
                "query": " ".join(rng.sample(words, 8)),
                "reasoning": "",
                "id": str(n),
                "excluded_ids": names[3:] if n else ["N/A"],
                "gold_ids_long": [],
                "gold_ids": names[:3],
                "gold_answer": "",
            }
        )
    for name, rows in (("documents", documents), ("examples", examples)):
        (root / name).mkdir(parents=True)
        path = root / name / "pony-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
    return documents, examples


def scored(run: Mapping[str, Mapping[str, float]], examples: Rows) -> dict[str, float]:
    """calculate_retrieval_metrics of what get_scores leaves."""
    qrels = {each["id"]: dict.fromkeys(each["gold_ids"], 1) for each in examples}
    kept = {}
    for each in examples:
        scores = dict(run[each["id"]])
        for doc in set(each["excluded_ids"]):
            if doc != "N/A":
                scores.pop(doc)
        kept[each["id"]] = scores
    names = {"ndcg_cut.10", "recall.100", "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(kept)
    return {
        mine: float(np.mean([each[theirs] for each in found.values()]))
        for mine, theirs in METRICS.items()
    }


def test_bright_is_scored_as_its_authors_do(
    tmp_path: Path, models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, examples = published(tmp_path / "BRIGHT")
    out = tmp_path / "pony"
    capsys.readouterr()
    assert shardrank("collect", "bright", str(tmp_path / "BRIGHT"), str(out), "--part", "pony") == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    index, rank = (line for line in lines if line.startswith("shardrank "))
    encoder = ("--set", f"encoder.model={models[0]}")
    assert shardrank(*shlex.split(index)[1:], *encoder) == 0
    off = ("--set", "reranker.model=off")
    assert shardrank(*shlex.split(rank)[1:], *encoder, *off) == 0
    # The same search without the rule, of every document, as run.py has all scores.
    every = ["rank", f"{out}/index", f"{out}/queries.jsonl", str(tmp_path / "every")]
    assert shardrank(*every, *encoder, *off, "--set", "search.k=40") == 0
    run: dict[str, dict[str, float]] = {}
    for row in pq.read_table(tmp_path / "every/rankings").to_pylist():
        run.setdefault(row["query_id"], {})[row["doc_id"]] = row["score"]
    metrics = json.loads((out / "ranked/metrics.json").read_text("utf-8"))
    assert metrics["retrieved"] == pytest.approx(scored(run, examples))
    found = pq.read_table(out / "ranked/rankings").to_pylist()
    lists = {each["id"]: each["excluded_ids"] for each in examples}
    assert len(found) == 40 * len(examples) - sum(len(each) for each in lists.values()) + 1
    assert not any(row["doc_id"] in lists[row["query_id"]] for row in found)
