"""What a user waits for before any work: help, status, and a small corpus from file to rankings."""

from collections.abc import Iterator
from pathlib import Path

from tests.bench.bounds import Bound
from tests.bench.command import shardrank
from tests.bench.flow import write_corpus
from tests.bench.texts import documents, questions

PASSAGES, QUERIES = 1_000, 20


def bounds(folder: Path, rounds: int) -> Iterator[Bound]:
    """Each in a fresh process; the small corpus with a fresh Ray for each of its two commands."""
    root = folder / "startup"
    root.mkdir(parents=True, exist_ok=True)
    write_corpus(documents(PASSAGES), root / "corpus.jsonl")
    write_corpus(questions(QUERIES), root / "queries.jsonl")
    whole = [_index_and_rank(root, root / str(number)) for number in range(rounds)]
    helped = [shardrank("--help") for _ in range(rounds)]
    status = [shardrank("status", root / "0" / "index") for _ in range(rounds)]
    yield Bound("shardrank --help", "s", helped, 0.5)
    yield Bound("shardrank status", "s", status, 1)
    yield Bound(f"index {PASSAGES:,} passages and rank {QUERIES} queries", "s", whole, 30)


def _index_and_rank(root: Path, made: Path) -> float:
    index = shardrank("index", root / "corpus.jsonl", made / "index")
    return index + shardrank("rank", made / "index", root / "queries.jsonl", made / "ranked")
