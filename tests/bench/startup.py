"""What a user waits for before any work: help, status, and a small corpus from file to rankings."""

from collections.abc import Iterator
from pathlib import Path

from tests.bench.bounds import Bound
from tests.bench.command import settings, shardrank
from tests.bench.flow import write_corpus
from tests.bench.texts import documents, questions

PASSAGES, QUERIES = 1_000, 20
FP32 = settings(encoder__dtype="fp32", reranker__dtype="fp32")
ON_RAY = settings(cluster__executor="ray")


def bounds(folder: Path, rounds: int) -> Iterator[Bound]:
    """Each in a fresh process; the small corpus inline, as by default, and with a fresh Ray for
    each of its two commands.

    A CPU that multiplies bf16 runs in it by default; fp32 is what another one waits for.
    """
    root = folder / "startup"
    root.mkdir(parents=True, exist_ok=True)
    write_corpus(documents(PASSAGES), root / "corpus.jsonl")
    write_corpus(questions(QUERIES), root / "queries.jsonl")
    whole = [_index_and_rank(root, root / f"default-{n}", []) for n in range(rounds)]
    exact = [_index_and_rank(root, root / f"fp32-{n}", FP32) for n in range(rounds)]
    on_ray = [_index_and_rank(root, root / f"ray-{n}", [*FP32, *ON_RAY]) for n in range(rounds)]
    helped = [shardrank("--help") for _ in range(rounds)]
    status = [shardrank("status", root / "default-0" / "index") for _ in range(rounds)]
    yield Bound("shardrank --help", "s", helped, 0.5)
    yield Bound("shardrank status", "s", status, 1)
    name = f"index {PASSAGES:,} passages and rank {QUERIES} queries"
    yield Bound(name, "s", whole, 20)
    yield Bound(f"{name}, both in fp32", "s", exact, 25)
    yield Bound(f"{name}, both in fp32, on Ray", "s", on_ray, 40)


def _index_and_rank(root: Path, made: Path, sets: list[str]) -> float:
    index, out = made / "index", made / "ranked"
    seconds = shardrank("index", root / "corpus.jsonl", index, *sets)
    return seconds + shardrank("rank", index, root / "queries.jsonl", out, *sets)
