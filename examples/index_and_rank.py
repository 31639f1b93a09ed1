"""Index a corpus, rank queries over it, and print the first documents of each query.

    python examples/index_and_rank.py [CORPUS QUERIES FOLDER] [--settings FILE]

Without paths a corpus of five documents is written to a temporary folder. The default models need
the extra `demo` (docs/models.md).
"""

import argparse
import json
import tempfile
from pathlib import Path

import shardrank

DOCUMENTS = {
    "gzip": "Compress and decompress files in the format of the program gzip.",
    "json": "Encode objects as JSON, and decode JSON into objects.",
    "random": "Generate pseudo-random numbers of various distributions.",
    "shutil": "Copy, move, archive and delete files and whole trees of folders.",
    "statistics": "Compute means, medians, variances and other statistics of numbers.",
}
QUERIES = {"q1": "how do I copy a folder?", "q2": "the average of a list"}


def write_rows(path: Path, texts: dict[str, str]) -> str:
    """JSON Lines with BEIR's names of columns."""
    rows = (json.dumps({"_id": name, "text": text}) for name, text in texts.items())
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return str(path)


def index_and_rank(corpus: str, queries: str, folder: Path, settings: str | None) -> None:
    """Build FOLDER/index and FOLDER/ranked, and print what was found."""
    made = shardrank.index(corpus, folder / "index", settings=settings)
    print(f"{made.version.live.documents} documents in version {made.number}")
    shardrank.rank(folder / "index", queries, folder / "ranked", settings=settings)
    for table in shardrank.read_rankings(folder / "ranked"):
        for row in table.to_pylist():
            if row["rank"] <= 3:
                print(f"{row['query_id']}  {row['rank']}. {row['doc_id']}  {row['score']:.3f}")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("paths", nargs="*", help="CORPUS, QUERIES and FOLDER")
parser.add_argument("--settings", help="a TOML file")
given = parser.parse_args()
if given.paths:
    corpus, queries, folder = given.paths
    index_and_rank(corpus, queries, Path(folder), given.settings)
else:
    with tempfile.TemporaryDirectory() as made:
        corpus = write_rows(Path(made) / "corpus.jsonl", DOCUMENTS)
        queries = write_rows(Path(made) / "queries.jsonl", QUERIES)
        index_and_rank(corpus, queries, Path(made), given.settings)
