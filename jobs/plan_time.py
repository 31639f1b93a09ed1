"""How long a run will take here: the forecast of `plan cluster`, for the machine or cluster at hand
and what there is to do."""

import math
from collections.abc import Sequence
from dataclasses import replace

from shardrank.core.cards import RerankerCard
from shardrank.core.model_settings import DENSE
from shardrank.core.pools import Resources
from shardrank.core.settings import Settings
from shardrank.flows.index_plan import IndexPlan
from shardrank.flows.rank_plan import RankPlan
from shardrank.forecast.cluster_time import Cluster, Flow, forecast
from shardrank.forecast.misfits import kind, too_large
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import Work
from shardrank.jobs.forecast import GB, ClusterJob, expected_work
from shardrank.kernels.limits import usable_memory
from shardrank.kernels.pace import flops_per_core_s
from shardrank.report.figures import coarse
from shardrank.stages.run.executors import cluster_address, runs_inline
from shardrank.version.sizing import BYTES_PER_TOKEN

#: Seconds until Ray stands, with its first workers; and until a model is loaded.
RAY_STARTS_S, MODEL_LOADS_S = 12.0, 4.0
#: Bytes a second of a disk or a network, read and written together.
BYTES_PER_S = 1 * GB


def index_time(plan: IndexPlan, passages: int, total: int, resources: Resources) -> str:
    """Of an index run that reads so many passages of `total`, all as if they were new."""
    settings = plan.settings
    work = replace(
        _work(settings, total, 1, []),
        passages=passages,
        passage_tokens=max(1, int(plan.source.text / BYTES_PER_TOKEN / passages)),
        part_size=min(plan.part_size, passages),
        documents=passages,
    )
    inline = runs_inline(settings.cluster, plan.amount)
    most = "at most " if plan.base else ""
    return f"{most}about {_told('index', work, settings, resources, inline)}"


def rank_work(plan: RankPlan) -> Work:
    """What a rank run has to do."""
    settings, live = plan.settings, plan.published.version.live
    dense = [each.how for each in plan.retrievers if each.name == DENSE]
    return replace(
        _work(
            settings,
            max(1, live.passages),
            max(1, plan.queries.table.num_rows),
            [each.card for each in plan.rerankers],
        ),
        passage_tokens=max(1, live.tokens // max(1, live.passages)),
        part_size=plan.published.version.part_size,
        index=plan.published.version.index.plan,
        nprobe=dense[0].nprobe if dense else 0,
        depth=dense[0].depth if dense else settings.search.k,
        documents=max(1, live.documents),
    )


def rank_time(plan: RankPlan, work: Work, resources: Resources) -> str:
    """Of a rank run that has so much to do."""
    settings = plan.settings
    inline = runs_inline(settings.cluster, plan.amount)
    return f"about {_told('rank', work, settings, resources, inline)}"


def rerank_misfits(plan: RankPlan, work: Work, resources: Resources) -> list[str]:
    """A line for each reranker whose actors' memory is more than there is."""
    cluster = _cluster(plan.settings, resources)
    stages = forecast(work, cluster, Rates()).of("rank")
    reranking = [stage for stage in stages if kind(stage.need.stage) == "rerank"]
    return [line for stage in reranking for line in too_large(stage)]


def _work(
    settings: Settings, passages: int, queries: int, cards: Sequence[RerankerCard] | None = None
) -> Work:
    job = ClusterJob(
        passages, queries, nodes=1, cpus=1, gpus=0, memory=1.0, bandwidth=1.0, gpu_tflops=None
    )
    return expected_work(job, settings, cards)


def _told(flow: Flow, work: Work, settings: Settings, resources: Resources, inline: bool) -> str:
    joined = cluster_address(settings.cluster)
    rates = Rates() if joined else replace(Rates(), request_s=0.0).on(flops_per_core_s())
    stages = forecast(work, _cluster(settings, resources), rates).of(flow)
    models = sum(stage.need.model is not None for stage in stages)
    start = models * MODEL_LOADS_S + (0.0 if inline else RAY_STARTS_S)
    longest = max(stages, key=lambda stage: stage.wall_s)
    where = "on that cluster" if joined else f"on this machine's {resources.cpus:g} CPUs"
    total = start + sum(stage.wall_s for stage in stages)
    return f"{coarse(total)} {where}, most of it {longest.need.stage}"


def _cluster(settings: Settings, resources: Resources) -> Cluster:
    of_a_node = int(resources.largest or resources.cpus)
    nodes = max(1, math.ceil(resources.cpus / max(1, of_a_node)))
    gpus = math.ceil(resources.gpus / nodes)
    cpus = max(1, of_a_node)
    return Cluster(nodes, cpus, gpus, usable_memory(), BYTES_PER_S, settings.cluster)
