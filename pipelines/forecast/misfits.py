"""What of a forecast does not fit the cluster, and which setting changes it."""

from collections.abc import Iterator

from shardrank.forecast.cluster_time import Forecast, StageForecast
from shardrank.forecast.work import EXHAUSTIVE, Work

#: Bytes of one stage's specs from which they are worth a word: the driver makes them all at once.
MANY_SPEC_BYTES = 1e9

#: Share of the workers that are idle, and of its flow's time that a stage takes, from which idle
#: workers are worth a word.
LEAST_IDLE, LEAST_TIME = 0.1, 0.01

#: What lowers the memory of a stage's worker.
SMALLER_WORKER = {
    "scan": "Lower corpus.slice_bytes.",
    "compare": "No setting lowers it: let Ray have fewer CPUs of a node, or take larger nodes.",
    "ingest": "Lower corpus.slice_bytes.",
    "embed": "Lower passages.part_size or cluster.actors.",
    "draw": "Lower passages.part_size.",
    "fit": "Have the encoder learn of less, or take larger nodes.",
    "sample": "Lower passages.part_size.",
    "questions": "Lower passages.part_size.",
    "count": "Lower index.shard_passages.",
    "total": "No setting lowers it: take larger nodes.",
    "train": "Lower index.nlist or index.train_rows.",
    "build": "Lower index.shard_passages.",
    "audit": "Lower index.shard_passages.",
    "encode": "Lower search.block_queries or cluster.actors.",
    "encode_parts": "Lower search.block_queries or cluster.actors.",
    "first": "Lower search.memory_mb, search.block_queries or cluster.actors.",
    "first_merge": "Lower search.block_queries.",
    "pool": "Lower search.block_queries.",
    "values": "Lower search.block_queries.",
    "feedback": "Lower search.block_queries.",
    "guided": "Lower search.block_queries.",
    "search": "Lower search.memory_mb, search.block_queries or cluster.actors.",
    "merge": "Lower search.block_queries.",
    "rerank": "Lower cluster.actors, or search.block_queries where pairs are scored; or set "
    "reranker.dtype = bf16.",
    "texts": "Lower search.block_queries.",
    "reorder": "Lower search.block_queries.",
    "collate": "Lower search.block_queries.",
}

#: What lowers the memory of the driver in a stage.
SMALLER_DRIVER = {
    "scan": "Raise corpus.slice_bytes.",
    "compare": "Raise corpus.slice_bytes.",
    "ingest": "Raise passages.part_size.",
    "embed": "Raise passages.part_size.",
    "draw": "Raise passages.part_size.",
    "fit": "Raise passages.part_size.",
    "questions": "Raise passages.part_size.",
    "count": "Raise index.shard_passages.",
    "total": "Raise index.shard_passages.",
    "sample": "Raise passages.part_size.",
    "train": "Raise passages.part_size.",
    "build": "Raise passages.part_size.",
    "audit": "Lower audit.queries.",
    "encode": "Raise search.block_queries.",
    "encode_parts": "Raise search.block_queries.",
    "first": "Raise search.block_queries.",
    "first_merge": "Raise search.block_queries.",
    "pool": "Raise search.block_queries.",
    "values": "Raise search.block_queries.",
    "feedback": "Raise search.block_queries.",
    "guided": "Raise search.block_queries.",
    "search": "Raise search.block_queries.",
    "merge": "Raise search.block_queries.",
    "rerank": "Raise search.block_queries.",
    "texts": "Raise search.block_queries.",
    "reorder": "Raise search.block_queries.",
    "collate": "Raise search.block_queries.",
    "deliver": "Lower search.block_queries.",
}

#: What cuts a stage into more units, where a setting does; the shards of exact search have a size
#: of their own.
MORE_UNITS = {
    "scan": "corpus.slice_bytes",
    "ingest": "corpus.slice_bytes",
    "embed": "passages.part_size",
    "draw": "passages.part_size",
    "sample": "passages.part_size",
    "questions": "passages.part_size",
    "count": "index.shard_passages",
    "build": "index.shard_passages",
    "audit": "index.shard_passages",
    "encode": "search.block_queries",
    "encode_parts": "search.block_queries",
    "first": "index.shard_passages",
    "first_merge": "search.block_queries",
    "pool": "search.block_queries",
    "feedback": "search.block_queries",
    "guided": "search.block_queries",
    "search": "index.shard_passages",
    "merge": "search.block_queries",
    "reorder": "search.block_queries",
    "collate": "search.block_queries",
}

#: What every unit of a stage names, where there are many of both.
NAMED = {
    "compare": "slices",
    "rerank": "query blocks",
    "values": "query blocks",
    "texts": "query blocks",
    "reorder": "units of rerank",
    "collate": "units of rerank",
}


def misfits(found: Forecast) -> list[str]:
    """A line for each, in the order of the stages."""
    checks = (_memory, _specs, _idle)
    return [line for stage in found.stages for check in checks for line in check(stage, found)]


def kind(stage: str) -> str:
    """What stages are called of which there are several: rerank of rerank-2 and so on."""
    return stage.partition("-")[0]


def too_large(stage: StageForecast) -> Iterator[str]:
    """A line where a node cannot hold the stage's workers."""
    need, name = stage.need, stage.need.stage
    if need.runner != "driver" and need.memory > stage.free_bytes:
        yield (
            f"{name}: a worker needs {_gb(need.memory)}, and a node has {_gb(stage.free_bytes)} "
            f"for each of {stage.crowd}. {SMALLER_WORKER[kind(name)]}"
        )


def _memory(stage: StageForecast, found: Forecast) -> Iterator[str]:
    yield from too_large(stage)
    name = stage.need.stage
    if stage.driver_bytes > stage.node_bytes:
        yield (
            f"{name}: the driver needs {_gb(stage.driver_bytes)}, and a node has "
            f"{_gb(stage.node_bytes)}. {SMALLER_DRIVER[kind(name)]}"
        )


def _specs(stage: StageForecast, found: Forecast) -> Iterator[str]:
    name, called = stage.need.stage, kind(stage.need.stage)
    if called in NAMED and stage.spec_bytes > MANY_SPEC_BYTES:
        yield (
            f"{name}: each of its {stage.need.units:,} units names all {NAMED[called]}, which is "
            f"{_gb(stage.spec_bytes)} through the driver. {SMALLER_DRIVER[called]}"
        )


def _idle(stage: StageForecast, found: Forecast) -> Iterator[str]:
    name = stage.need.stage
    idle = stage.workers < (1 - LEAST_IDLE) * stage.slots
    matters = stage.wall_s > LEAST_TIME * found.seconds(stage.flow)
    fixed = kind(name) not in MORE_UNITS or name in _exhaustive(found.work)
    if idle and matters and not fixed:
        yield (
            f"{name}: there are units for {stage.workers:,} of {stage.slots:,} workers. "
            f"Lower {MORE_UNITS[kind(name)]}."
        )


def _exhaustive(work: Work) -> set[str]:
    """The searches whose shards have a size of their own."""
    return {
        search.of(stage)
        for search in work.searched
        for stage in ("first", "search")
        if work.over_searched(search).index.kind in EXHAUSTIVE
    }


def _gb(bytes_: float) -> str:
    return f"{bytes_ / 1e9:,.1f} GB"
