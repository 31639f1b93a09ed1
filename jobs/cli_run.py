"""The commands that make something: an index, rankings, labels; here, or as a job."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from shardrank.jobs.options import (
    Config,
    Corpus,
    IndexPath,
    Mode,
    ModeOption,
    Out,
    Overrides,
    Qrels,
    Queries,
    Verbose,
    Wait,
)

commands = typer.Typer()


@commands.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where to put the demo's files.")] = Path("demo"),
    config: Config = None,
    overrides: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """The whole line on Python's own documentation: index, rank, rerank, report."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.demo import run

    run(out, load_settings(config, overrides or []), verbose)


@commands.command()
def collect(
    name: Annotated[str, typer.Argument(metavar="BENCHMARK", help="See docs/collections.md.")],
    source: Annotated[Path, typer.Argument(help="The folder of its files, as published.")],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where queries and the like go.")],
    part: Annotated[
        str, typer.Option(help="Its language, domain or data set, where it has several.")
    ] = "",
    split: Annotated[str, typer.Option(help="Default: the one that its authors score.")] = "",
) -> None:
    """A benchmark's published files become queries, judgements and settings for its metrics."""
    from shardrank.jobs.collect import CollectJob, run

    run(CollectJob(name, source, out, part, split))


@commands.command()
def index(
    corpus: Corpus,
    index: IndexPath,
    mode: ModeOption = Mode.snapshot,
    wait: Wait = False,
    config: Config = None,
    overrides: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """Build or update an index; a new version only if gate and audit let it pass."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.index import run

    run(corpus, index, mode.value, load_settings(config, overrides or []), verbose, wait)


@commands.command()
def compact(
    index: IndexPath,
    wait: Wait = False,
    config: Config = None,
    overrides: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """Rewrite parts with deleted rows, fold small parts and shards; nothing is embedded."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.compact import run

    run(index, load_settings(config, overrides or []), verbose, wait)


@commands.command()
def rank(
    index: IndexPath,
    queries: Queries,
    out: Out,
    qrels: Qrels = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run's output in OUT.")
    ] = False,
    wait: Wait = False,
    config: Config = None,
    overrides: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """Search and rerank a batch of queries; writes ranked Parquet and a report."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.rank import RankJob, run

    run(
        RankJob(index, queries, out, qrels, overwrite, wait),
        load_settings(config, overrides or []),
        verbose,
    )


@commands.command()
def label(
    out: Out,
    labels: Annotated[str, typer.Argument(metavar="LABELS", help="Folder or s3:// of labels.")],
    format_: Annotated[str, typer.Option("--format", "-f", help="See docs/labels.md.")],
    qrels: Qrels = None,
    index: Annotated[
        str | None, typer.Option(help="Where the index lies, if it has moved.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other labels in LABELS.")
    ] = False,
    wait: Wait = False,
    config: Config = None,
    overrides: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """Training labels for a student from a ranked run: teacher scores, hard negatives."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.label import LabelJob, run

    job = LabelJob(out, labels, format_, qrels, index, overwrite, wait)
    run(job, load_settings(config, overrides or []), verbose)


@commands.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def submit(
    command: Annotated[list[str], typer.Argument(help="Such as: index CORPUS INDEX …")],
    address: Annotated[
        str | None,
        typer.Option(help="Job server; default: RAY_API_SERVER_ADDRESS, else this machine's."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--id", help="Of the job, such as night-2026-11-29; one that runs is joined."),
    ] = None,
    working_dir: Annotated[
        Path | None, typer.Option(help="A folder whose files travel with the job.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", help="A variable of the job; no secrets.", metavar="NAME[=VALUE]"),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Show the job's log until it ends.")
    ] = True,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="End with the job, by its exit code.")
    ] = True,
) -> None:
    """Run a command as a job on a Ray cluster; ends with its exit code."""
    from shardrank.jobs.submit import SubmitJob, run

    job = SubmitJob(command, address, name, working_dir, tuple(env or ()), follow, wait)
    sys.exit(run(job))
