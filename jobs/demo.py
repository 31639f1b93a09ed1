"""shardrank demo: the whole line on the documentation of the Python that runs it."""

import time
from pathlib import Path

from shardrank.core.settings import Settings
from shardrank.corpus.stdlib import write_demo
from shardrank.jobs.console import console
from shardrank.jobs.index import run as run_index
from shardrank.jobs.rank import RankJob
from shardrank.jobs.rank import run as run_rank


def run(out: Path, settings: Settings, verbose: bool) -> None:
    """Write the corpus, index it, rank its test queries."""
    began = time.monotonic()
    source = out / "source"
    documents, queries = write_demo(source)
    console().print(
        f"Corpus: {documents:,} docstrings of Python's standard library; {queries} queries whose "
        "answer is known, from modules that trained nothing."
    )
    job = RankJob(
        index=str(out / "index"),
        queries=str(source / "queries.jsonl"),
        out=str(out / "ranked"),
        qrels=str(source / "qrels" / "test.tsv"),
        overwrite=True,
    )
    run_index(str(source / "corpus.jsonl"), job.index, "snapshot", settings, verbose)
    run_rank(job, settings, verbose)
    console().print(f"All in {time.monotonic() - began:.0f} s.")
