"""shardrank plan cluster: how long a cluster would take; arithmetic, which starts nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.table import Table

from shardrank.core.cards import ColumnCard, EncoderCard, RerankerCard
from shardrank.core.errors import InputError
from shardrank.core.model_settings import DENSE
from shardrank.core.reranker_settings import RerankerSettings
from shardrank.core.settings import Settings
from shardrank.forecast.cluster_time import Cluster, Flow, Forecast, StageForecast, forecast
from shardrank.forecast.columns import vector_bytes
from shardrank.forecast.misfits import misfits
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import Reranking, Work
from shardrank.jobs.columns import (
    Encoded,
    columns,
    expected_searches,
    model_of,
    read_encoded,
    unmeasured,
)
from shardrank.jobs.console import console
from shardrank.kernels.machine import multiplies_bf16
from shardrank.models.cards import read_encoder_card
from shardrank.models.folder.table import UNLIMITED
from shardrank.models.rerankers.beside import Beside, HeldColumn
from shardrank.models.rerankers.registry import (
    prompt_tokens,
    read_reranker,
    reads_grades,
    reranker_family,
)
from shardrank.models.size import encoder_size
from shardrank.report.figures import coarse
from shardrank.version.sizing import BYTES_PER_TOKEN, default_part_size, plan_codec, refuse_misfits

#: What is taken for granted of a corpus that nobody has read: Wikipedia's articles have 2.1
#: passages, which fill .79 of their 256 tokens.
PASSAGES_PER_DOCUMENT = 2
FILLED = 0.8
#: Tokens of a document, for a model without a limit, which takes it whole.
WHOLE_DOCUMENT = 512
QUERY_TOKENS = 16

#: What the audits of MedQuAD and Wikipedia chose, of one shard each: 400 passages, about so many
#: documents.
AUDITED_NPROBE, AUDITED_DEPTH = 64, 200

FLOWS: tuple[Flow, ...] = ("index", "rank")
GB, TERA = 1e9, 1e12


@dataclass(frozen=True)
class ClusterJob:
    """The command's arguments: memory in GB and bandwidth in GB/s, both of a node."""

    passages: float
    queries: float
    nodes: int
    cpus: int
    gpus: int
    memory: float
    bandwidth: float
    gpu_tflops: float | None


def explain_cluster(job: ClusterJob, settings: Settings) -> None:
    """Print the forecast of both flows. Raises what the runs themselves would refuse with."""
    found = foretell(job, settings)
    console().print(_table(job, found))
    told = (_bottleneck(found), _driver(found), *_assumptions(job, found.work, settings))
    for line in (*told, *unmeasured(found.work)):
        console().print(line)
    if lines := misfits(found):
        console().print("What does not fit, and what changes it:")
    for line in lines:
        console().print(f"- {line}")


def foretell(job: ClusterJob, settings: Settings) -> Forecast:
    """Of both flows. Raises what the runs themselves would refuse with."""
    _refuse_nonsense(job)
    return forecast(expected_work(job, settings), cluster_of(job, settings), _rates(job))


def _refuse_nonsense(job: ClusterJob) -> None:
    for name in ("passages", "queries", "nodes", "cpus"):
        if not 1 <= getattr(job, name) < math.inf:
            raise InputError(f"--{name} is {getattr(job, name)}.", "Give 1 or more.")
    if job.gpus < 0:
        raise InputError(f"--gpus is {job.gpus}.", "Give 0 or more.")
    for name in ("memory", "bandwidth", "gpu_tflops"):
        value = getattr(job, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} is {value}.", "Give more than 0.")


def cluster_of(job: ClusterJob, settings: Settings) -> Cluster:
    """The cluster that the arguments speak of."""
    memory, bandwidth = job.memory * GB, job.bandwidth * GB
    return Cluster(job.nodes, job.cpus, job.gpus, memory, bandwidth, settings.cluster)


def _rates(job: ClusterJob) -> Rates:
    return Rates(gpu_flops_per_s=job.gpu_tflops * TERA) if job.gpu_tflops else Rates()


def expected_work(job: ClusterJob, settings: Settings) -> Work:
    """What both flows have to do, of a corpus that nobody has read."""
    card = read_encoder_card(settings.dense, halve=multiplies_bf16())
    encoded = read_encoded(settings, card)
    rerankers = rerankings(settings, _cards(settings, card, encoded))
    work = replace(dense_work(job, settings, card), rerankers=rerankers)
    work = replace(work, columns=columns(encoded, settings, work, {}))
    nprobe = settings.search.nprobe or AUDITED_NPROBE
    return replace(work, searches=expected_searches(work, settings, nprobe))


def rerankings(settings: Settings, cards: Sequence[RerankerCard]) -> tuple[Reranking, ...]:
    """Of the rerankers that the settings name, whose cards these are."""
    both = zip(settings.rerankers, cards, strict=True)
    return tuple(_reranking(each, card, settings.search.k) for each, card in both)


def dense_work(job: ClusterJob, settings: Settings, card: EncoderCard) -> Work:
    """The same of the first column alone, and without rerankers."""
    passages = int(job.passages)
    own = card.max_tokens if card.max_tokens < UNLIMITED else WHOLE_DOCUMENT
    limit = min(settings.passages.max_tokens or own, own)
    tokens = max(1, int(FILLED * limit))
    text_bytes = int(passages * tokens * BYTES_PER_TOKEN)
    part_size = settings.passages.part_size or default_part_size(text_bytes)
    refuse_misfits(settings.index_of(DENSE), card.dim, part_size)
    index = plan_codec(settings.index_of(DENSE), passages, card.dim)
    return Work(
        passages=passages,
        documents=math.ceil(passages / PASSAGES_PER_DOCUMENT),
        queries=int(job.queries),
        passage_tokens=tokens,
        query_tokens=QUERY_TOKENS,
        dim=card.dim,
        value_bytes=vector_bytes(card.dim, 2 if settings.dense.stored == "fp16" else 4),
        encoder=model_of(encoder_size(settings.dense), card.dtype),
        rerankers=(),
        index=index,
        shard_passages=settings.index_of(DENSE).shard_passages,
        part_size=part_size,
        slice_bytes=settings.corpus.slice_bytes,
        audited=settings.audit.k,
        audited_depth=settings.audit.max_depth,
        questions=min(settings.audit.queries, passages),
        k=settings.search.k,
        nprobe=min(settings.search.nprobe or AUDITED_NPROBE, index.nlist),
        depth=_depth(passages, settings),
        block_queries=settings.search.block_queries,
        search_bytes=settings.search.memory_mb << 20,
    )


def _cards(
    settings: Settings, encoder: EncoderCard, encoded: Sequence[Encoded]
) -> list[RerankerCard]:
    cards: dict[str, ColumnCard] = {DENSE: encoder}
    cards |= {each.settings.name: each.card for each in encoded}
    held = {name: HeldColumn(card) for name, card in cards.items()}
    beside, k = Beside(encoder.dtype == "bf16", held), settings.search.k
    return [read_reranker(each, beside, min(each.depth, k)) for each in settings.rerankers]


def _reranking(each: RerankerSettings, card: RerankerCard, k: int) -> Reranking:
    size = reranker_family(each).size(each)
    return Reranking(
        settings=each,
        sees=card.sees,
        model=model_of(size, card.dtype),
        limit=card.max_tokens,
        weights=size.held,
        kept=size.kept,
        terms=size.terms,
        reads=card.reads.name if card.reads else "",
        prompt=prompt_tokens(each, card, min(each.depth, k)),
        writes=not reads_grades(card),
    )


def _depth(passages: int, settings: Settings) -> int:
    """The neighbours of a query lie spread over the shards, so each must be searched less deeply;
    but no audit looks below audit.k, and no search below search.k."""
    shards = math.ceil(passages / settings.index_of(DENSE).shard_passages)
    audited = max(settings.audit.k, AUDITED_DEPTH // shards)
    return max(settings.search.depth or audited, settings.search.k)


def _table(job: ClusterJob, found: Forecast) -> Table:
    table = Table(title=_title(job), title_justify="left", box=None)
    for name in ("stage", "units", "workers", "time", "bound by", "memory of a worker"):
        table.add_column(name, justify="left" if name in ("stage", "bound by") else "right")
    for flow in FLOWS:
        for stage in found.of(flow):
            table.add_row(*_row(stage))
        table.add_row(flow, "", "", coarse(found.seconds(flow)), style="bold", end_section=True)
    return table


def _title(job: ClusterJob) -> str:
    gpus = f" + {job.gpus} GPU" if job.gpus else ""
    return (
        f"{job.passages:,.0f} passages × {job.queries:,.0f} queries on "
        f"{job.nodes:,} nodes × ({job.cpus} CPU{gpus}, {job.memory:g} GB, {job.bandwidth:g} GB/s)"
    )


def _row(stage: StageForecast) -> list[str]:
    need = stage.need
    counts = [f"{need.units:,}", f"{stage.workers:,}"]
    memory = f"{need.memory / GB:,.1f} GB"
    return [f"  {need.stage}", *counts, coarse(stage.wall_s), stage.bound_by, memory]


def _bottleneck(found: Forecast) -> str:
    stage = found.bottleneck
    share = stage.wall_s / found.seconds(stage.flow)
    return (
        f"Bottleneck: {stage.need.stage}, {coarse(stage.wall_s)} or {share:.0%} of {stage.flow}, "
        f"bound by {stage.bound_by}."
    )


def _driver(found: Forecast) -> str:
    stage = found.driver
    return f"The driver holds most in {stage.need.stage}: {stage.driver_bytes / GB:,.1f} GB."


def _assumptions(job: ClusterJob, work: Work, settings: Settings) -> list[str]:
    effort = f"nprobe {work.nprobe}, depth {work.depth}" if work.index.nlist else "exact search"
    lines = [
        f"Assumed: {PASSAGES_PER_DOCUMENT} passages a document, of {work.passage_tokens} tokens "
        f"each; {work.query_tokens} tokens a query; {effort}; {_dtypes(work)}; the speeds in "
        "pipelines/forecast/rates.py, most of them measured."
    ]
    if job.gpus and settings.cluster.gpu == "auto" and job.gpu_tflops is None:
        tera = Rates().gpu_flops_per_s / TERA
        lines.append(f"Assumed, not measured: {tera:g} TFLOP/s a GPU. Give yours: --gpu-tflops.")
    return lines


def _dtypes(work: Work) -> str:
    dtypes = dict.fromkeys(each.model.dtype for each in work.rerankers)
    who = "rerankers" if len(work.rerankers) > 1 else "reranker"
    told = f", the {who} in {' and '.join(dtypes)}" if dtypes else ""
    return f"the encoder in {work.encoder.dtype}{told}"
