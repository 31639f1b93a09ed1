"""The command line: `shardrank`. One command a job; Ray and torch load only where a job runs."""

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from shardrank import __version__
from shardrank.core.errors import InputError, ShardrankError
from shardrank.core.outcomes import INTERRUPTED, TERMINATED
from shardrank.core.python_gc import collect_seldom
from shardrank.jobs.console import say_error, say_stopped

app = typer.Typer(
    name="shardrank",
    help="Batch indexing and reranking of large document stores on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
plan_app = typer.Typer(no_args_is_help=True, help="Say what a job would do; run nothing.")
app.add_typer(plan_app, name="plan")


class Emit(StrEnum):
    """What `plan cluster` writes instead of a table."""

    rayjob = "rayjob"
    raycronjob = "raycronjob"


class Mode(StrEnum):
    """Of an index run: whether the corpus is all there is, or only what is new."""

    snapshot = "snapshot"
    upsert = "upsert"


Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="A TOML file of settings.", metavar="FILE")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="One setting; wins over the file.", metavar="TABLE.KEY=VALUE"),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Ray's own messages.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Where another run holds the place, wait until it ends.")
]
ModeOption = Annotated[
    Mode, typer.Option("--mode", help="upsert: documents that CORPUS lacks stay.")
]
Corpus = Annotated[str, typer.Argument(help="File, folder or glob; local or s3://.")]
IndexPath = Annotated[str, typer.Argument(metavar="INDEX", help="Folder or s3:// of the index.")]
Queries = Annotated[str, typer.Argument(help="File, folder or glob of queries.")]
Out = Annotated[str, typer.Argument(metavar="OUT", help="Folder or s3:// of the rankings.")]


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"shardrank {__version__}")
        raise typer.Exit()


@app.callback()
def _every_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which it is."),
    ] = False,
) -> None:
    pass


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
def rank(
    index: IndexPath,
    queries: Queries,
    out: Out,
    qrels: Annotated[str | None, typer.Option(help="Judgements: BEIR TSV or TREC.")] = None,
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


@app.command()
def label(
    out: Out,
    labels: Annotated[str, typer.Argument(metavar="LABELS", help="Folder or s3:// of labels.")],
    format_: Annotated[str, typer.Option("--format", "-f", help="See docs/labels.md.")],
    qrels: Annotated[str | None, typer.Option(help="Judgements: BEIR TSV or TREC.")] = None,
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


@app.command(
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

    _refuse_unusable(command)
    job = SubmitJob(command, address, name, working_dir, tuple(env or ()), follow, wait)
    sys.exit(run(job))


@app.command()
def evaluate(
    out: Out,
    qrels: Annotated[str, typer.Argument(help="Judgements: BEIR TSV or TREC.")],
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Metrics of the rankings in OUT: those of evaluate.metrics."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.evaluate import run

    run(out, qrels, load_settings(config, overrides or []))


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="OUT1", help="Folder or s3:// of rankings.")],
    second: Annotated[str, typer.Argument(metavar="OUT2", help="Of others of the same queries.")],
    qrels: Annotated[str | None, typer.Option(help="Judgements: BEIR TSV or TREC.")] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="A .csv or .parquet to write, a row a query.", dir_okay=False),
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Whether OUT2 is better than OUT1 by judgements, and how much alike they are."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.compare import CompareJob, run

    run(CompareJob(first, second, qrels, to), load_settings(config, overrides or []))


@app.command()
def tune(
    out: Out,
    qrels: Annotated[str, typer.Option(help="Judgements to choose by: BEIR TSV or TREC.")],
    test: Annotated[
        str | None, typer.Option(help="Judgements of other queries, to measure the choice on.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="What to choose by, as ir-measures calls it.")
    ] = "nDCG@10",
    to: Annotated[
        Path | None, typer.Option(help="A TOML file to write, for --config.", dir_okay=False)
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """The fusion of several retrievers, and the weight of the reranker's score, that judgements
    favour; nothing in OUT changes."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.tune import TuneJob, run

    run(TuneJob(out, qrels, test, metric, to), load_settings(config, overrides or []))


@app.command()
def status(
    path: Annotated[str, typer.Argument(help="An INDEX, an OUT or a LABELS.")],
    runs: Annotated[int, typer.Option(min=1, help="Newest runs to show.")] = 1,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="As Prometheus reads it: docs/watching.md.")
    ] = False,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """How far a run is, or how it ended, from the files alone; from any machine."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs import prometheus as for_prometheus
    from shardrank.jobs import status as for_people

    settings = load_settings(config, overrides or [])
    if prometheus:
        for_prometheus.run(path, settings)
    else:
        for_people.run(path, runs, settings)


@app.command()
def versions(index: IndexPath, config: Config = None, overrides: Overrides = None) -> None:
    """The versions of an index: when, by what, documents, recall and size."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.versions import run

    run(index, load_settings(config, overrides or []))


@app.command()
def rollback(
    index: IndexPath,
    version: Annotated[int, typer.Argument(help="The version to go back to.")],
    wait: Wait = False,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Make an old version the latest again; copies nothing."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.rollback import run

    run(index, version, load_settings(config, overrides or []), wait)


@app.command()
def verify(
    index: IndexPath,
    version: Annotated[int | None, typer.Option(help="Instead of the latest.")] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Read every file of a version: checksums, rows, live documents."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.verify import run

    run(index, version, load_settings(config, overrides or []))


@app.command()
def gc(
    index: IndexPath,
    keep: Annotated[int, typer.Option(min=1, help="Newest versions to keep.")] = 3,
    grace: Annotated[
        float, typer.Option(min=0, help="Days for which everything younger is kept.")
    ] = 7.0,
    delete: Annotated[bool, typer.Option("--delete", help="Do it; otherwise only say.")] = False,
    wait: Wait = False,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Delete what no kept version needs."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.gc import run
    from shardrank.version.retention import Retention

    rule, settings = Retention(keep, grace * 86_400), load_settings(config, overrides or [])
    run(index, rule, delete, settings, wait)


@plan_app.command("index")
def plan_index_job(
    corpus: Corpus,
    index: IndexPath,
    mode: ModeOption = Mode.snapshot,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Units, memory, disk and refusals of `shardrank index`."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.plan import explain_index

    explain_index(corpus, index, mode.value, load_settings(config, overrides or []))


@plan_app.command("rank")
def plan_rank_job(
    index: IndexPath,
    queries: Queries,
    qrels: Annotated[str | None, typer.Option(help="Judgements: BEIR TSV or TREC.")] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Units, pools and refusals of `shardrank rank`."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.plan import explain_rank

    explain_rank(index, queries, qrels, load_settings(config, overrides or []))


@plan_app.command("cluster")
def plan_cluster_job(
    passages: Annotated[float, typer.Option(help="Passages of the corpus, such as 1e9.")],
    queries: Annotated[float, typer.Option(help="Queries of the batch.")],
    nodes: Annotated[int, typer.Option(help="Nodes of the cluster.")],
    cpus: Annotated[int, typer.Option(help="CPUs of a node.")] = 16,
    gpus: Annotated[int, typer.Option(help="GPUs of a node.")] = 0,
    memory: Annotated[float, typer.Option(help="GB of a node.")] = 128.0,
    bandwidth: Annotated[float, typer.Option(help="GB/s of a node to the storage.")] = 1.0,
    gpu_tflops: Annotated[
        float | None, typer.Option(help="TFLOP/s that a GPU reaches with these models.")
    ] = None,
    emit: Annotated[
        Emit | None, typer.Option(help="Write such a cluster as a manifest for KubeRay, instead.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="--emit: the pods' image.")] = None,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND]", help="--emit: what it is to run: -- index s3://…"),
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Time, bottleneck and misfits of both flows on a cluster that need not exist."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.forecast import ClusterJob, explain_cluster

    job = ClusterJob(passages, queries, nodes, cpus, gpus, memory, bandwidth, gpu_tflops)
    settings = load_settings(config, overrides or [])
    if emit is None and (image or command):
        raise typer.BadParameter("--image and a command after -- need --emit.")
    if emit is None:
        explain_cluster(job, settings)
        return
    from shardrank.jobs.emit import Emission
    from shardrank.jobs.emit import emit as write

    write(Emission(emit.value, command or [], image, config, overrides or []), job, settings)


def _refuse_unusable(words: list[str]) -> None:
    """Raise what the command's own line would be refused with, before it travels."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    context = typer.Context(group, info_name="shardrank")
    if words[0] == "submit":
        raise InputError("A job cannot submit itself.", "Give the command that it runs: index …")
    name, found, rest = group.resolve_command(context, words)
    assert found is not None
    given = found.make_context(name, rest, parent=context).params
    if "overrides" in given:
        from shardrank.flows.options import load_settings

        load_settings(given["config"], given["overrides"] or [])


def main() -> None:
    """Entry point. Exit codes: 0 done; 1 failed, retry is safe; 2 bad input or settings;
    3 gate or audit refused; 4 commit state unknown; 130 and 143 stopped by SIGINT and SIGTERM."""
    collect_seldom()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except ShardrankError as error:
        say_error(error)
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code in (INTERRUPTED, TERMINATED):
            sys.exit(say_stopped(stop.code))
        raise


def _terminate(signal_number: int, frame: object) -> None:
    """What `ray job stop`, Kubernetes and systemd send: the run says how far it is, and ends."""
    sys.exit(TERMINATED)


if __name__ == "__main__":  # where the package travels with a job, and no script is installed
    main()
