"""Two nights of an index with a bi-encoder and BM25, and a ranking that fuses both.

    python examples/hybrid_night.py [FOLDER]

Without a folder a temporary one is used. The default models need the extra `demo` (docs/models.md).
"""

import argparse
import json
import tempfile
from pathlib import Path

import shardrank
from shardrank import Settings

NIGHTS = [
    {
        "E-1041": "Error E-1041: the pump's valve does not open. Check the fuse of the valve.",
        "E-1042": "Error E-1042: the pump's valve does not close. Clean the seat of the valve.",
        "manual": "The pump moves water from the tank to the boiler as soon as it is cold.",
    },
    {
        "E-1041": "Error E-1041: the valve does not open. Exchange the valve.",
        "E-1042": "Error E-1042: the pump's valve does not close. Clean the seat of the valve.",
        "E-1077": "Error E-1077: no water reaches the boiler, since the tank is empty.",
    },
]
#: A code, which only words find, and a question in other words than the text's.
QUERIES = {"code": "E-1041", "question": "why is my heating dry?"}

HYBRID = Settings.model_validate(
    {
        "encoder": [{"model": "embedded"}, {"family": "bm25"}],
        "gate": {"max_deleted": 1, "max_changed": 1},
    }
)


def write_rows(path: Path, texts: dict[str, str]) -> str:
    """JSON Lines with BEIR's names of columns."""
    rows = (json.dumps({"_id": name, "text": text}) for name, text in texts.items())
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return str(path)


def run(folder: Path) -> None:
    """Index each night's documents into FOLDER/index, and rank after each."""
    queries = write_rows(folder / "queries.jsonl", QUERIES)
    for night, documents in enumerate(NIGHTS, 1):
        corpus = write_rows(folder / f"night-{night}.jsonl", documents)
        made = shardrank.index(corpus, folder / "index", settings=HYBRID)
        changes, words = made.changes, made.version.indexes["bm25"].counts
        print(f"night {night}: {changes.added} added, {changes.changed} changed,", end=" ")
        print(f"{changes.deleted} deleted; {words.terms.rows if words else 0} words")
        out = folder / f"ranked-{night}"
        shardrank.rank(folder / "index", queries, out, settings=HYBRID)
        for table in shardrank.read_rankings(out):
            for row in table.to_pylist():
                if row["retrieval_rank"] == 1:
                    print(f"  {row['query_id']}: {row['doc_id']}")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", help="where to work")
given = parser.parse_args()
if given.folder:
    Path(given.folder).mkdir(parents=True, exist_ok=True)
    run(Path(given.folder))
else:
    with tempfile.TemporaryDirectory() as made:
        run(Path(made))
