"""The command line: `shardrank`. One command a job; Ray and torch load only where a job runs."""

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from shardrank.core.errors import ShardrankError
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
ModeOption = Annotated[
    Mode, typer.Option("--mode", help="upsert: documents that CORPUS lacks stay.")
]
Corpus = Annotated[str, typer.Argument(help="File, folder or glob; local or s3://.")]
IndexPath = Annotated[str, typer.Argument(metavar="INDEX", help="Folder or s3:// of the index.")]
Queries = Annotated[str, typer.Argument(help="File, folder or glob of queries.")]
Out = Annotated[str, typer.Argument(metavar="OUT", help="Folder or s3:// of the rankings.")]


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
    config: Config = None,
    overrides: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """Build or update an index; a new version only if gate and audit let it pass."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.index import run

    run(corpus, index, mode.value, load_settings(config, overrides or []), verbose)


@app.command()
def compact(
    index: IndexPath,
    config: Config = None,
    overrides: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """Rewrite parts with deleted rows, fold small parts and shards; nothing is embedded."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.compact import run

    run(index, load_settings(config, overrides or []), verbose)


@app.command()
def rank(
    index: IndexPath,
    queries: Queries,
    out: Out,
    qrels: Annotated[str | None, typer.Option(help="Judgements: BEIR TSV or TREC.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run's output in OUT.")
    ] = False,
    config: Config = None,
    overrides: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """Search and rerank a batch of queries; writes ranked Parquet and a report."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.rank import RankJob, run

    run(
        RankJob(index, queries, out, qrels, overwrite),
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
    config: Config = None,
    overrides: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """Training labels for a student from a ranked run: teacher scores, hard negatives."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.label import LabelJob, run

    job = LabelJob(out, labels, format_, qrels, index, overwrite)
    run(job, load_settings(config, overrides or []), verbose)


@app.command()
def evaluate(
    out: Out,
    qrels: Annotated[str, typer.Argument(help="Judgements: BEIR TSV or TREC.")],
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """nDCG@10, MRR@10 and Recall@100 of the rankings in OUT."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.evaluate import run

    run(out, qrels, load_settings(config, overrides or []))


@app.command()
def tune(
    out: Out,
    qrels: Annotated[str, typer.Option(help="Judgements to choose by: BEIR TSV or TREC.")],
    test: Annotated[
        str | None, typer.Option(help="Judgements of other queries, to measure the choice on.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="What to choose by: nDCG@10, MRR@10 or Recall@100.")
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
    path: Annotated[str, typer.Argument(help="An INDEX or an OUT.")],
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="As Prometheus reads it: docs/watching.md.")
    ] = False,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """What is done and what is left, from the files alone; needs no cluster."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs import prometheus as for_prometheus
    from shardrank.jobs import status as for_people

    shown = for_prometheus if prometheus else for_people
    shown.run(path, load_settings(config, overrides or []))


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
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Make an old version the latest again; copies nothing."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.rollback import run

    run(index, version, load_settings(config, overrides or []))


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
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Delete what no kept version needs."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.gc import run
    from shardrank.version.retention import Retention

    run(index, Retention(keep, grace * 86_400), delete, load_settings(config, overrides or []))


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
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Units, pools and refusals of `shardrank rank`."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.plan import explain_rank

    explain_rank(index, queries, load_settings(config, overrides or []))


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
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Time, bottleneck and misfits of both flows on a cluster that need not exist."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.forecast import ClusterJob, explain_cluster

    job = ClusterJob(passages, queries, nodes, cpus, gpus, memory, bandwidth, gpu_tflops)
    explain_cluster(job, load_settings(config, overrides or []))


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
        if stop.code in (INTERRUPTED, TERMINATED):
            say_stopped()
        raise


def _terminate(signal_number: int, frame: object) -> None:
    """What `ray job stop`, Kubernetes and systemd send: the run says how far it is, and ends."""
    sys.exit(TERMINATED)
