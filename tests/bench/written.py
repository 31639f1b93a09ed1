"""What texts about passages are worth to who reads them: plain columns beside columns of both.

python -m tests.bench.written COLLECTION OUT --writer FOLDER [--every 1] [--set TABLE.KEY=VALUE ...]

The collection has BEIR's layout; of the documents that no query is judged by, each so many-th is
taken. Every retriever is asked alone, without a reranker. Seconds are those of the unit's marker:
the writer's and the filter's, on one thread.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import shardrank
from tests.bench.beir import Collection

METRICS = ("nDCG@10", "Recall@100")
WEIGHTS = (0.1, 0.3, 0.5)


def settings(writer: str, model: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Columns of passages alone, and of passages with what is written about them."""
    texts = {"family": "written", "model": writer, "filter_model": model}
    for each in overrides:
        name, _, value = each.partition("=")
        texts[name] = json.loads(value) if value[:1].isdigit() else value
    means = [
        {"name": f"mean{n}", "model": model, "of": "written", "written_weight": weight}
        for n, weight in enumerate(WEIGHTS)
    ]
    appended = {"name": "appended", "family": "bm25", "of": "written"}
    alone = {"name": "alone", "family": "bm25", "of": "written", "texts": "alone"}
    views = {"name": "views", "family": "views", "model": model, "of": "written"}
    return {
        "encoder": [{"model": model}, texts, {"family": "bm25"}, appended, alone, *means, views],
        "index": [{"kind": "exact"}, {"of": "views", "kind": "exact"}],
        "reranker": [{"model": "off"}],
    }


def counted(index: Path) -> tuple[Mapping[str, int], float]:
    """What the markers of writing count, and their seconds."""
    read = [json.loads(file.read_text()) for file in index.glob("units/embed-written/*.json")]
    counts = sum((Counter(each["counts"]) for each in read), Counter[str]())
    return counts, sum(each["seconds"] for each in read)


def main() -> None:
    """Print what was written, and a row for each retriever."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collection", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--writer", required=True)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the writer")
    asked = parser.parse_args()
    collection = Collection(asked.collection, asked.out, asked.every)
    given = shardrank.Settings.model_validate(settings(asked.writer, asked.model, asked.set))
    made = shardrank.index(collection.corpus(), asked.out / "index", settings=given)
    counts, seconds = counted(asked.out / "index")
    print(f"{made.version.live.passages} passages, {seconds:.0f} s: {dict(counts)}", flush=True)
    for name in made.version.indexes:
        ranked = shardrank.rank(
            asked.out / "index",
            collection.queries,
            asked.out / name,
            qrels=collection.qrels,
            settings=given,
            overrides=[f"retriever.{name}.index={name}", "search.k=100"],
        )
        assert ranked.metrics is not None
        found = ranked.metrics["retrieved"]
        print(f"| {name} | " + " | ".join(f"{found[m]:.4f}" for m in METRICS) + " |", flush=True)


if __name__ == "__main__":
    main()
