"""What a job costs: the index flow on a three-node cluster of this machine, submitted as a job and
given by hand on the head, turn about.

python -m tests.bench.jobs [--rounds 3] [--passages 4096]
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.bench.flow import WORDS, short_texts, write_corpus
from tests.cluster.ground import RUN, SCRIPT, Cluster, standing

SETS = ("--set", "passages.part_size=256")


def as_job(cluster: Cluster, words: Sequence[str]) -> None:
    """Submit and follow, as a user does."""
    given = [*RUN, "submit", "--address", cluster.dashboard, "--no-follow", *words]
    subprocess.run(given, check=True, capture_output=True)


def by_hand(cluster: Cluster, words: Sequence[str]) -> None:
    """The same words on the head."""
    given = [sys.executable, str(SCRIPT), "exec", "head", "--", *RUN, *words]
    address = ("--set", f"cluster.address={cluster.address}")
    subprocess.run([*given, *address], check=True, capture_output=True, env=cluster.variables())


def flow_seconds(index: Path) -> float:
    """From the run's first word to its last, as its record has it."""
    [path] = index.glob("runs/*/run.json")
    record = json.loads(path.read_text())
    return float(record["beat"] - record["began"])


def main() -> None:
    """Print the seconds of each round, of the flow and of the whole command, and the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passages", type=int, default=4096)
    asked = parser.parse_args()
    with TemporaryDirectory() as name, standing() as cluster:
        folder, flows, wholes = Path(name), list[float](), list[float]()
        write_corpus(short_texts(asked.passages, WORDS), folder / "corpus.jsonl")
        for number in range(-1, asked.rounds):
            ways = (as_job, by_hand) if number % 2 else (by_hand, as_job)
            seconds = {}
            for way in ways:
                index, began = folder / f"{way.__name__}{number}", time.monotonic()
                way(cluster, ["index", str(folder / "corpus.jsonl"), str(index), *SETS])
                seconds[way.__name__] = (flow_seconds(index), time.monotonic() - began)
            print(number, seconds, flush=True)
            if number >= 0:  # the first round warms what is loaded for the first time
                (flow, whole), (hand, all_by_hand) = seconds["as_job"], seconds["by_hand"]
                flows.append(hand / flow)
                wholes.append(all_by_hand / whole)
        for what, ratios in (("the flow", flows), ("the whole command", wholes)):
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
            print(f"throughput as a job, of {what}: {median(ratios):.3f} ({spread}) of by hand")


if __name__ == "__main__":
    main()
