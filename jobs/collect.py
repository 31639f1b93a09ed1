"""shardrank collect: a benchmark's published files become what the other commands take."""

from dataclasses import dataclass
from pathlib import Path

from shardrank.core.benchmarks import Benchmark, benchmark
from shardrank.core.errors import InputError
from shardrank.corpus.collect import Collected, collect
from shardrank.jobs.console import console
from shardrank.report.figures import count


@dataclass(frozen=True)
class CollectJob:
    """The command's arguments; an empty part or split is none that was named."""

    name: str
    source: Path
    out: Path
    part: str
    split: str


def run(job: CollectJob) -> None:
    """Write the folder and print what came of it, and how to go on."""
    known = benchmark(job.name)
    if job.out.resolve() == job.source.resolve():
        raise InputError("OUT is SOURCE, whose files it would write over.", "Name another folder.")
    split = job.split or known.split
    found = collect(known, job.source, job.out, job.part, split)
    for line in (*_summary(known, found), *_commands(job.out, found, split)):
        console().print(line, soft_wrap=True)


def _summary(known: Benchmark, found: Collected) -> list[str]:
    read = count(found.queries + found.unjudged)
    aside = f" + {count(found.unjudged)} without a judgement, left out" if found.unjudged else ""
    grades = " + ".join(f"{count(n)} of grade {grade}" for grade, n in found.grades.items())
    lines = [
        f"  queries    {read} = {count(found.queries)} judged{aside}",
        f"  judgements {count(found.judgements)} = {grades}",
        f"  metrics    {', '.join(known.metrics)}",
    ]
    if known.excluded:
        lines.append(f"  excluded   {count(found.excluded)} documents, of each query its own")
    if found.documents is not None:
        lines.append(f"  documents  {count(found.documents)} written to {found.corpus}")
    return [*lines, f"  differs    {known.differs}."]


def _commands(out: Path, found: Collected, split: str) -> list[str]:
    corpus = f"'{found.corpus}'" if found.corpus else "CORPUS"
    return [
        f"shardrank index {corpus} {out}/index --config {out}/index.toml",
        f"shardrank rank {out}/index {out}/queries.jsonl {out}/ranked "
        f"--qrels {out}/qrels/{split}.tsv --config {out}/rank.toml",
    ]
