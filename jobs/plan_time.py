"""How long a run will take here: the forecast of `plan cluster`, for the machine or cluster at hand
and what there is to do."""

import math
from dataclasses import replace

from shardrank.core.pools import Resources
from shardrank.core.settings import Settings
from shardrank.flows.index_plan import IndexPlan
from shardrank.flows.rank_plan import RankPlan
from shardrank.forecast.cluster_time import Cluster, Flow, forecast
from shardrank.forecast.misfits import kind, too_large
from shardrank.forecast.model import SPECIALS
from shardrank.forecast.rates import AVX2, VNNI, ZEN_4, Cpu, Rates
from shardrank.forecast.work import FirstRound, Searching, Work
from shardrank.jobs.columns import Encoded, columns, looks, stored_columns
from shardrank.jobs.forecast import GB, ClusterJob, dense_work, rerankings
from shardrank.kernels.limits import usable_memory
from shardrank.kernels.machine import has_vnni, multiplies_bf16
from shardrank.kernels.pace import flops_per_core_s
from shardrank.models.encoders.looks import look_dense
from shardrank.report.figures import coarse
from shardrank.stages.index.look import Look
from shardrank.stages.rank.search import Retriever
from shardrank.stages.run.executors import cluster_address, runs_inline
from shardrank.version.manifest import StoredEncoder
from shardrank.version.sizing import BYTES_PER_TOKEN

#: Seconds until Ray stands, with its first workers; and until a pool has actors.
RAY_STARTS_S, MODEL_LOADS_S = 12.0, 4.0
#: Queries whose tokens are counted.
LOOKED_AT = 1024
#: Bytes a second of a disk or a network, read and written together.
BYTES_PER_S = 1 * GB


def index_work(plan: IndexPlan, seen: Look | None, total: int) -> Work:
    """What an index run has to do, all as if it were new, by a look at its corpus; its index is
    over `total` passages."""
    settings, read = plan.settings, passages_of(plan, seen)
    work = replace(
        dense_work(_job(total, 1), settings, plan.card),
        passages=read,
        documents=max(1, round(seen.documents)) if seen else read,
        passage_tokens=max(1, round(seen.tokens if seen else _tokens(plan, read))),
        part_size=min(plan.part_size, read),
    )
    encoded = [Encoded(each.settings, each.card) for each in plan.further]
    looked = looks(encoded, seen.texts) if seen else {}
    return replace(work, columns=columns(encoded, settings, work, looked))


def passages_of(plan: IndexPlan, seen: Look | None) -> int:
    """Of the corpus, about: as a look says, or by bytes."""
    if seen is not None:
        return max(1, round(seen.passages))
    settings = plan.settings
    window = min(settings.passages.max_tokens or plan.card.max_tokens, plan.card.max_tokens)
    return max(1, int(plan.source.text / BYTES_PER_TOKEN / window))


def _tokens(plan: IndexPlan, passages: int) -> float:
    return plan.source.text / BYTES_PER_TOKEN / passages


def index_time(plan: IndexPlan, work: Work, resources: Resources) -> str:
    """Of an index run that has so much to do."""
    settings = plan.settings
    inline = runs_inline(settings.cluster, plan.amount)
    most = "at most " if plan.base else ""
    return f"{most}about {_told('index', work, settings, resources, inline)}"


def rank_work(plan: RankPlan) -> Work:
    """What a rank run has to do."""
    settings, version = plan.settings, plan.published.version
    live, count = version.live, max(1, plan.queries.table.num_rows)
    parts = plan.queries.parts
    cards = [each.card for each in plan.rerankers]
    work = replace(
        dense_work(_job(max(1, live.passages), count), settings, plan.encoder.card),
        passage_tokens=max(1, live.tokens // max(1, live.passages)),
        query_tokens=_query_tokens(plan),
        part_size=version.part_size,
        index=version.index.plan,
        documents=max(1, live.documents),
        searches=tuple(map(_searching, plan.retrievers)),
        query_parts=parts.table.num_rows if parts else 0,
        rerankers=rerankings(settings, cards),
    )
    return replace(work, columns=stored_columns(version, _seen(plan), settings, work))


def _searching(retriever: Retriever) -> Searching:
    index, how = retriever.index, retriever.how
    return Searching(
        index.column, retriever.k, how.nprobe, how.depth, retriever.name, _first_round(retriever)
    )


def _first_round(retriever: Retriever) -> FirstRound | None:
    if retriever.feedback:
        return FirstRound(retriever.feedback.documents)
    if how := retriever.guidance:
        return FirstRound(how.documents, how.by, how.steps)
    return None


def _seen(plan: RankPlan) -> list[StoredEncoder]:
    """The further encoders whose columns are searched or reranked by, in the version's order."""
    asking = (each.asking for each in plan.rerankers if each.asking)
    wanted = {each.name: each for each in (*plan.further, *asking)}
    return [wanted[each.name] for each in plan.published.version.further if each.name in wanted]


def _query_tokens(plan: RankPlan) -> int:
    """Of a query, on average, without special ones; of the first encoder's. Parts of queries are
    taken to be as long."""
    texts = plan.queries.table["text"].slice(0, LOOKED_AT).to_pylist()
    read = look_dense(plan.encoder.settings, plan.encoder.card, texts).read
    return max(1, round(read) - SPECIALS)


def rank_time(plan: RankPlan, work: Work, resources: Resources) -> str:
    """Of a rank run that has so much to do."""
    settings = plan.settings
    inline = runs_inline(settings.cluster, plan.amount)
    return f"about {_told('rank', work, settings, resources, inline)}"


def rerank_misfits(plan: RankPlan, work: Work, resources: Resources) -> list[str]:
    """A line for each reranker whose actors' memory is more than there is."""
    cluster = cluster_here(plan.settings, resources)
    stages = forecast(work, cluster, Rates()).of("rank")
    reranking = [stage for stage in stages if kind(stage.need.stage) == "rerank"]
    return [line for stage in reranking for line in too_large(stage)]


def _job(passages: int, queries: int) -> ClusterJob:
    return ClusterJob(
        passages, queries, nodes=1, cpus=1, gpus=0, memory=1.0, bandwidth=1.0, gpu_tflops=None
    )


def rates_here() -> Rates:
    """Of this machine, by the kind of its CPU and how fast it multiplies now."""
    return replace(Rates(), request_s=0.0).on(cpu_here(), flops_per_core_s())


def cpu_here() -> Cpu:
    """The measured one that is of this machine's kind."""
    if multiplies_bf16():
        return ZEN_4
    return VNNI if has_vnni() else AVX2


def _told(flow: Flow, work: Work, settings: Settings, resources: Resources, inline: bool) -> str:
    joined = cluster_address(settings.cluster)
    rates = Rates() if joined else rates_here()
    stages = forecast(work, cluster_here(settings, resources), rates).of(flow)
    models = sum(stage.need.model is not None for stage in stages)
    start = 0.0 if inline else RAY_STARTS_S + models * MODEL_LOADS_S
    longest = max(stages, key=lambda stage: stage.wall_s)
    where = "on that cluster" if joined else f"on this machine's {resources.cpus:g} CPUs"
    total = start + sum(stage.wall_s for stage in stages)
    return f"{coarse(total)} {where}, most of it {longest.need.stage}"


def cluster_here(settings: Settings, resources: Resources) -> Cluster:
    """The machine or cluster at hand, as equal nodes."""
    of_a_node = int(resources.largest or resources.cpus)
    nodes = max(1, math.ceil(resources.cpus / max(1, of_a_node)))
    gpus = math.ceil(resources.gpus / nodes)
    cpus = max(1, of_a_node)
    return Cluster(nodes, cpus, gpus, usable_memory(), BYTES_PER_S, settings.cluster)
