"""shardrank plan: the commands that only say what a job would do."""

from enum import StrEnum
from typing import Annotated

import typer

from shardrank.jobs.options import (
    Config,
    Corpus,
    IndexPath,
    Mode,
    ModeOption,
    Overrides,
    Qrels,
    Queries,
)

commands = typer.Typer(no_args_is_help=True, help="Say what a job would do; run nothing.")


class Emit(StrEnum):
    """What `plan cluster` writes instead of a table."""

    rayjob = "rayjob"
    raycronjob = "raycronjob"


@commands.command("index")
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


@commands.command("rank")
def plan_rank_job(
    index: IndexPath,
    queries: Queries,
    qrels: Qrels = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Units, pools and refusals of `shardrank rank`."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.plan import explain_rank

    explain_rank(index, queries, qrels, load_settings(config, overrides or []))


@commands.command("cluster")
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
