"""Generated texts, ranked: of each prefix's candidates, which goes on best?

    python examples/rank_generations.py [GENERATIONS FOLDER] [--scorer NAME] [--settings FILE]

GENERATIONS is JSON Lines of {"_id", "prefix", "candidates"}, the candidates a list of texts.
Without paths, a few made ones.

RankGen (Krishna et al. 2022, arXiv 2205.09726) samples many continuations from a language model and
keeps the one whose vector has the largest product with that of the prefix; summaries by several
plans are chosen likewise (Adams et al. 2023, arXiv 2305.17779). A prefix is a query here, and its
candidates are what "judgements" name: `shardrank.label` scores every pair of a query and a judged
document, found or not, by any teacher. --scorer retrieval is the bi-encoder, RankGen's own way;
other names are rerankers, such as the folder of a cross-encoder (docs/labels.md). With several
thousand prefixes it is one sweep, which resumes like any other.

What it prints: the candidates of each prefix, best first. FOLDER/labels/scores has all scores.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

import shardrank

Rows = Iterable[Mapping[str, Any]]

GENERATIONS = [
    {
        "_id": "kettle",
        "prefix": "She filled the kettle with water and set it on the stove.",
        "candidates": [
            "The stock market closed higher on Friday.",
            "After a few minutes the water boiled, and she poured the tea.",
            "She filled the kettle. She filled the kettle. She filled the kettle.",
        ],
    },
    {
        "_id": "wing",
        "prefix": "As the angle of attack grows, the air no longer follows the wing's surface.",
        "candidates": [
            "The flow separates, lift falls, and the aircraft stalls.",
            "Many birds have feathers of several colours.",
            "Add the flour slowly and stir until there are no lumps.",
        ],
    },
]
#: A candidate is scored whole, as far as the model reads. Retrieval itself is not asked for.
WHOLE = ("passages.split=false", "search.k=1", "label.depth=1")
#: Between a prefix's id and a candidate's number.
MARK = "#"


def rank(generations: Rows, folder: Path, scorer: str, **given: Any) -> dict[str, list[int]]:
    """Of each prefix the numbers of its candidates, best first; ties as they were given.

    Args:
        generations: {"_id", "prefix", "candidates"}.
        folder: of index, ranking and labels.
        scorer: a name as label.teachers takes it.
        given: settings and overrides, as `shardrank.index` takes them.
    """
    given["overrides"] = [*WHOLE, *given.get("overrides", ())]
    rows = list(generations)
    corpus, queries, pairs = write(rows, folder)
    shardrank.index(corpus, folder / "index", **given)
    ranking = {**given, "overrides": [*given["overrides"], "reranker.model=off"]}
    shardrank.rank(folder / "index", queries, folder / "ranked", **ranking)
    given["overrides"] += [f"label.teachers={scorer}"]
    labels = folder / "labels"
    shardrank.label(folder / "ranked", labels, format="pointwise", qrels=pairs, **given)
    return orders(labels)


def write(rows: Rows, folder: Path) -> tuple[Path, Path, Path]:
    """Candidates as a corpus, prefixes as queries, and which belong together."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / "candidates.jsonl", folder / "prefixes.jsonl", folder / "pairs.tsv"
    pieces: tuple[list[str], ...] = [], [], ["query-id\tcorpus-id\tscore\n"]
    for row in rows:
        pieces[1].append(json.dumps({"_id": row["_id"], "text": row["prefix"]}) + "\n")
        for number, text in enumerate(row["candidates"]):
            name = f"{row['_id']}{MARK}{number}"
            pieces[0].append(json.dumps({"_id": name, "text": text}) + "\n")
            pieces[2].append(f"{row['_id']}\t{name}\t1\n")
    for file, lines in zip(files, pieces, strict=True):
        file.write_text("".join(lines), "utf-8")
    return files


def orders(labels: Path) -> dict[str, list[int]]:
    """Read the scores. What was found, and is no candidate of the prefix, has no grade."""
    scores = pq.read_table(labels / "scores", columns=["query_id", "doc_id", "grade", "score"])
    scores = scores.filter(pc.is_valid(scores["grade"]))
    found: dict[str, list[tuple[float, int]]] = {}
    for row in scores.to_pylist():
        if row["score"] is None:
            raise SystemExit(f"{row['doc_id']} has no finite score.")
        number = int(row["doc_id"].rpartition(MARK)[2])
        found.setdefault(row["query_id"], []).append((-row["score"], number))
    return {name: [number for _, number in sorted(each)] for name, each in found.items()}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", help="GENERATIONS and FOLDER")
    parser.add_argument("--scorer", default="retrieval", help="as label.teachers takes it")
    parser.add_argument("--settings", help="a TOML file")
    parser.add_argument("--set", action="append", default=[], help="a setting of shardrank")
    given = parser.parse_args()
    if given.paths:
        lines = Path(given.paths[0]).read_text("utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line.strip()]
        rows = [{**row, "_id": str(row["_id"])} for row in rows]
        run(rows, Path(given.paths[1]), given)
    else:
        with tempfile.TemporaryDirectory() as made:
            run(GENERATIONS, Path(made), given)


def run(rows: list[dict[str, Any]], folder: Path, given: argparse.Namespace) -> None:
    """Rank, and print."""
    found = rank(rows, folder, given.scorer, settings=given.settings, overrides=given.set)
    for row in rows:
        print(row["prefix"])
        order = found.get(row["_id"], [])
        for place, number in enumerate(order, 1):
            print(f"  {place}. {row['candidates'][number][:100]}")
        if without := sorted(set(range(len(row["candidates"]))) - set(order)):
            print(f"  Without a score, such as those that are empty: {without}")


if __name__ == "__main__":
    main()
