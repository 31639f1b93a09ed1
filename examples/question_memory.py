"""A memory of questions: a language model writes what each passage answers, these questions become
a corpus of their own, and what is asked is answered by the passage of its nearest one.

    python examples/question_memory.py [FOLDER] [--writer MODEL] [--encoder MODEL]

Without a folder a temporary one is used. The writer is SmolLM2 unless another is named: `make
weights` makes its folder (docs/models.md).
"""

import argparse
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import shardrank
from shardrank import Settings

PASSAGES = {
    "pump": "The pump moves water from the tank to the boiler as soon as the boiler is cold.",
    "valve": "A valve that does not open is blown by its fuse. Exchange the fuse, not the valve.",
    "tank": "The tank holds forty litres. Fill it up when the red lamp at its side is on.",
}
QUESTIONS = {"q1": "What does the pump do?", "q2": "How many litres does the tank hold?"}

SMOLLM2 = Path("~/.cache/shardrank/weights/smollm2").expanduser()


@dataclass(frozen=True)
class Remembered:
    """A question of the memory: the passage that answers it, and that passage's text."""

    question: str
    passage: str
    answer: str


def write_lines(path: Path, rows: Iterable[dict[str, str]]) -> str:
    """JSON Lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return str(path)


def remember(index: Path) -> dict[str, Remembered]:
    """Every question that was written about the index's passages, by a name of its own."""
    found = {}
    for table in shardrank.open_index(index).written():
        for row in table.to_pylist():
            passage = f"{row['doc_id']}:{row['passage']}"
            for number, question in enumerate(row["written"]):
                found[f"{passage}:{number}"] = Remembered(question, passage, row["text"])
    return found


def nearest(out: Path) -> dict[str, str]:
    """The question of the memory that is first for each that was asked."""
    rows = (row for table in shardrank.read_rankings(out) for row in table.to_pylist())
    return {row["query_id"]: row["doc_id"] for row in rows if row["rank"] == 1}


def run(folder: Path, encoder: str, writer: str) -> None:
    """Write, remember and ask, in FOLDER."""
    dense = {"model": encoder}
    written = {"family": "written", "model": writer, "count": 3, "answer_tokens": 64}
    writing = Settings.model_validate({"encoder": [dense, written]})
    plain = Settings.model_validate({"encoder": [dense], "reranker": [{"model": "off"}]})
    passages = [{"_id": name, "text": text} for name, text in PASSAGES.items()]
    corpus = write_lines(folder / "corpus.jsonl", passages)
    shardrank.index(corpus, folder / "index", settings=writing)
    memory = remember(folder / "index")
    rows = [
        {"_id": name, "text": each.question, "passage": each.passage, "answer": each.answer}
        for name, each in memory.items()
    ]
    shardrank.index(write_lines(folder / "memory.jsonl", rows), folder / "memory", settings=plain)
    asked = [{"_id": name, "text": text} for name, text in QUESTIONS.items()]
    queries = write_lines(folder / "queries.jsonl", asked)
    shardrank.rank(folder / "memory", queries, folder / "out", settings=plain)
    print(f"{len(memory)} questions are remembered")
    for query, name in nearest(folder / "out").items():
        found = memory[name]
        print(f"{QUESTIONS[query]}\n  as: {found.question}\n  {found.passage}: {found.answer}")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", help="where to work")
parser.add_argument("--writer", default=str(SMOLLM2), help="a causal language model")
parser.add_argument("--encoder", default="embedded", help="a bi-encoder")
words = parser.parse_args()
if words.folder:
    Path(words.folder).mkdir(parents=True, exist_ok=True)
    run(Path(words.folder), words.encoder, words.writer)
else:
    with tempfile.TemporaryDirectory() as made:
        run(Path(made), words.encoder, words.writer)
