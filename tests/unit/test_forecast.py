"""The forecast's arithmetic: properties over any cluster, stages by hand, the command."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.errors import InputError, PlanRefused
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import canonical_json
from shardrank.core.index_settings import IndexSettings
from shardrank.core.model_settings import DENSE
from shardrank.core.papers import to_json
from shardrank.core.reranker_settings import CrossSettings, ListwiseSettings
from shardrank.core.settings import ClusterSettings, Settings
from shardrank.forecast import misfits as advice
from shardrank.forecast.cluster_time import Cluster, Forecast, StageForecast, forecast
from shardrank.forecast.misfits import misfits
from shardrank.forecast.model import Model
from shardrank.forecast.needs import REF_BYTES
from shardrank.forecast.rates import Rates
from shardrank.forecast.rerank_needs import Runs
from shardrank.forecast.work import FirstRound, Reranking, Searching, Work
from shardrank.jobs.forecast import ClusterJob, explain_cluster
from shardrank.models.size import cross_size, encoder_size
from shardrank.version.sizing import fill, plan_codec, queries_at_once

ROOT = Path(__file__).parents[2]
COMMAND = "plan cluster --passages 1e9 --queries 1e6 --nodes 64 --set encoder.dtype=bf16"
MINILM = Model(10_764_288, "fp32")
CROSS = Reranking(CrossSettings(), "pairs", MINILM, 512, MINILM.parameters)
#: A language model of 100 million, in windows of 4 documents.
WINDOWS = ListwiseSettings(
    model="m", depth=20, window=4, stride=2, answer="generated", passage_tokens=50
)
LANGUAGE = Reranking(WINDOWS, "lists", Model(90_000_000, "bf16"), 1000, 10**8, 1_000, 50_000)

kinds = st.sampled_from(["exact", "ivfpq", "ivfsq8", "ivfrabitq"])
clusters = st.builds(
    Cluster,
    nodes=st.integers(1, 200),
    cpus=st.integers(2, 64),
    gpus=st.integers(0, 2),
    memory_bytes=st.floats(1e9, 1e12),
    bytes_per_s=st.floats(1e6, 1e10),
)


def work(passages: int = 10**9, queries: int = 10**6, kind: str = "auto", **other: Any) -> Work:
    """The defaults' work, with the embedded models."""
    settings = IndexSettings.model_validate({"kind": kind})
    values: dict[str, Any] = {
        "documents": -(-passages // 2),
        "passage_tokens": 204,
        "query_tokens": 16,
        "dim": 384,
        "value_bytes": 768,
        "encoder": MINILM,
        "rerankers": (CROSS,),
        "index": plan_codec(settings, passages, 384),
        "shard_passages": 1_000_000,
        "part_size": 16_384,
        "slice_bytes": 64 << 20,
        "audited": 100,
        "audited_depth": 2000,
        "questions": 256,
        "k": 100,
        "nprobe": 64,
        "depth": 100,
        "block_queries": 4096,
        "search_bytes": 1 << 30,
    }
    return Work(passages=passages, queries=queries, **{**values, **other})


#: Moved by what they find, and by what another finds.
ROUNDS = (
    Searching(DENSE, 100, 64, 100, "moved", FirstRound(10)),
    Searching(DENSE, 100, 64, 100, "guided", FirstRound(50, "moved", 25)),
)
works = st.builds(
    work,
    passages=st.integers(10_000, 10**10),
    queries=st.integers(1, 10**8),
    kind=kinds,
    part_size=st.integers(1, 1 << 20),
    shard_passages=st.integers(1, 10**7),
    block_queries=st.integers(1, 1 << 20),
    search_bytes=st.integers(1, 1 << 34),
    rerankers=st.sampled_from([(), (CROSS,), (LANGUAGE,), (CROSS, LANGUAGE), (LANGUAGE, CROSS)]),
    searches=st.sampled_from([(), ROUNDS[:1], ROUNDS]),
    query_parts=st.sampled_from([0, 1, 10**7]),
)


def named(found: Forecast, stage: str) -> StageForecast:
    [one] = [s for s in found.stages if s.need.stage == stage]
    return one


def cluster(nodes: int = 64, cpus: int = 16, **other: Any) -> Cluster:
    values: dict[str, Any] = {"gpus": 0, "memory_bytes": 128e9, "bytes_per_s": 1e9}
    return Cluster(nodes, cpus, **{**values, **other})


@given(works, clusters)
def test_twice_the_nodes_are_never_slower(some: Work, few: Cluster) -> None:
    many = replace(few, nodes=2 * few.nodes)
    pairs = zip(
        forecast(some, few, Rates()).stages, forecast(some, many, Rates()).stages, strict=True
    )
    assert [a.need.stage for a, b in pairs if b.wall_s > a.wall_s * (1 + 1e-9)] == []


@given(st.integers(10_000, 10**10), st.floats(1, 10), kinds, clusters)
def test_more_passages_are_never_indexed_faster(
    passages: int, times: float, kind: str, some: Cluster
) -> None:
    sizes = (passages, int(passages * times))
    less, more = (forecast(work(size, kind=kind), some, Rates()) for size in sizes)
    pairs = zip(less.of("index"), more.of("index"), strict=True)
    # Half a document is rounded up.
    assert [a.need.stage for a, b in pairs if b.wall_s < a.wall_s * (1 - 1e-4)] == []


@given(st.integers(10_000, 10**9), st.floats(1, 10), clusters)
def test_more_passages_are_never_searched_faster(
    passages: int, times: float, some: Cluster
) -> None:
    """With the same lists. Reranking may well be: its pairs then spread over more parts."""
    plan = plan_codec(IndexSettings(kind="ivfpq"), 10_000, 384)
    sizes = (passages, int(passages * times))
    less, more = (forecast(work(size, index=plan), some, Rates()) for size in sizes)
    for stage in ("search", "merge"):
        # Half a document is rounded up.
        assert named(more, stage).wall_s >= named(less, stage).wall_s * (1 - 1e-4)


@given(works, clusters)
def test_a_stage_takes_no_less_than_its_parts(some: Work, on: Cluster) -> None:
    found = forecast(some, on, Rates())
    for stage in found.stages:
        assert stage.wall_s >= max(stage.compute_s, stage.storage_s, stage.driver_s)
        assert stage.compute_s >= stage.waiting_s
        assert stage.workers * stage.waves >= stage.need.units > stage.workers * (stage.waves - 1)
    assert found.bottleneck.wall_s == max(stage.wall_s for stage in found.stages)
    assert found.seconds("index") + found.seconds("rank") == pytest.approx(
        sum(stage.wall_s for stage in found.stages)
    )


@given(works, clusters)
def test_what_does_not_fit_is_said_of_stages_there_are(some: Work, on: Cluster) -> None:
    found = forecast(some, on, Rates())
    assert {line.split(":")[0] for line in misfits(found)} <= {s.need.stage for s in found.stages}


def test_a_billion_passages_and_a_million_queries_on_64_nodes() -> None:
    found = forecast(work(), cluster(), Rates())
    bound = [(s.need.stage, s.need.units, s.bound_by) for s in found.stages]
    assert bound == [
        ("scan", 13_072, "driver"),
        ("compare", 125, "storage"),
        ("ingest", 13_072, "compute"),
        ("embed", 65_357, "compute"),
        ("sample", 2_043, "driver"),
        ("train", 1, "storage"),
        ("build", 1_000, "compute"),
        ("questions", 8, "compute"),
        ("audit", 1_000, "storage"),
        ("encode", 245, "compute"),
        ("search", 1_000, "compute"),
        ("merge", 245, "compute"),
        ("rerank", 2_971, "compute"),
        ("collate", 245, "storage"),
        ("deliver", 1, "one worker"),
    ]
    assert found.bottleneck.need.stage == "embed"
    assert found.bottleneck.waves == 64
    assert found.seconds("index") / 3600 == pytest.approx(14.9, abs=0.05)
    assert found.seconds("rank") / 3600 == pytest.approx(1.1, abs=0.05)
    assert [line.split(".")[0] for line in misfits(found)] == [
        "merge: there are units for 245 of 1,024 workers",
        "collate: there are units for 245 of 1,024 workers",
    ]


def test_embed_by_hand() -> None:
    """Three parts of 1,000 passages on two workers: two waves."""
    some = work(3_000, 1, "exact", part_size=1_000, passage_tokens=98, value_bytes=100)
    rates = Rates(
        fp32_flops_per_core_s=1e9,
        part_bytes_per_core_s=1e6,
        request_s=0.5,
        unit_step_s=0.1,
        spec_bytes_per_s=1e3,
        unit_s=0.0,
        load_s=0.0,
    )
    slow = replace(some, encoder=Model(2_000_000, "fp32"))
    stage = named(forecast(slow, cluster(1, 2, bytes_per_s=1e5), rates), "embed")
    model = 1_000 * (98 + 2) * 2 * 2_000_000 / 1e9  # 400 s
    stored = 1_000 * (98 * 3 + 50 * 2)  # 394,000 bytes, text and vectors
    waiting = 3 * 0.5
    assert (stage.waves, stage.waiting_s) == (2, 2 * waiting)
    assert stage.compute_s == pytest.approx(2 * (model + stored / 1e6 + waiting))
    assert stage.storage_s == pytest.approx(3 * stored / 1e5)
    assert stage.driver_s == pytest.approx(3 * (3 * 0.1 + 330 / 1e3))
    first = 2 * stored / 1e5  # both workers begin by reading
    assert stage.wall_s == pytest.approx(first + stage.compute_s)


def test_search_by_hand() -> None:
    """Two shards of 100 parts on two workers; all queries meet each shard."""
    plan = plan_codec(IndexSettings(kind="ivfpq", nlist=1_000, pq_m=48), 200_000, 384)
    some = work(200_000, 5_000, index=plan, shard_passages=100_000, part_size=1_000)
    rates = Rates(
        int8_products_per_core_s=2e9,
        refined_pairs_per_core_s=1e6,
        part_bytes_per_core_s=1e8,
        request_s=0.01,
        unit_s=0.0,
    )
    stage = named(forecast(some, cluster(1, 2), rates), "search")
    choosing = 5_000 * 1_000 * 384 / 2e9
    scanning = 5_000 * (100_000 * 64 / 1_000) * 384 / 2e9
    refining = 5_000 * 100 * 2 / 1e6  # a document has two passages
    row = 37 / 2 + 384 * 2  # bytes of a passage's key and its vector
    reading = 100_000 * row / 1e8
    waiting = (2 * 100 + 1 + 2) * 0.01  # parts, the shard, the blocks
    both = choosing + scanning + refining + reading + waiting
    assert (stage.need.units, stage.waves, stage.crowd) == (2, 1, 2)
    assert stage.compute_s == pytest.approx(both)
    vectors, hits, shard = 5_000 * 384 * 4, 5_000 * 100 * 14, some.sizes.shard
    moved = 2 * (100_000 * row + shard + hits) + 2 * vectors  # each actor reads all queries
    assert stage.storage_s == pytest.approx(moved / 1e9)
    refined = 5_000 * 100 * 2 * 20
    part = 1_000 * (row + 384 * 4)
    held = 0.8e9 + vectors + refined + 2 * shard + part
    assert stage.need.memory == pytest.approx(held)
    assert stage.free_bytes == 128e9 * 0.7 / 2


def test_groups_of_queries_are_those_of_search() -> None:
    """Blocks put together by the stage itself; an actor's memory is that of a group."""
    for kind, queries, block, memory in (
        ("auto", 10**6, 4096, 1 << 30),
        ("exact", 10**6, 4096, 1 << 30),
        ("auto", 5_000, 4096, 1),
        ("auto", 9_000, 1_000, 1 << 24),
    ):
        some = work(queries=queries, kind=kind, block_queries=block, search_bytes=memory)
        blocks = [min(block, queries - at) for at in range(0, queries, block)]
        hits = 0 if kind == "exact" else 2 * some.depth
        groups = fill(blocks, queries_at_once(memory, some.k, hits, some.dim))
        rows = [sum(blocks[n] for n in group) for group in groups]
        assert (some.groups, some.group_rows) == (len(rows), max(rows))
    few, many = (
        named(forecast(work(queries=n), cluster(), Rates()), "search") for n in (10**6, 10**7)
    )
    assert few.need.memory == many.need.memory
    assert few.need.bytes < many.need.bytes


def test_runs_of_parts_are_those_of_rerank() -> None:
    """Pairs by part as even as they come, cut by the stage itself."""
    from shardrank.stages.shared.pairs_by_part import group_parts

    for queries in (1, 100, 1_000, 40_000):
        some = work(10**6, queries)
        hits = some.queries * some.k
        scored = some.pairs(CROSS)
        runs, each = Runs.of(some, scored), hits / min(some.parts, hits)
        pairs = {n: round(each) for n in range(min(some.parts, hits))}
        groups = group_parts(pairs, scored / hits)
        assert abs(runs.units - len(groups)) <= 1
        assert runs.units * runs.pairs >= scored


def test_a_reference_is_as_long_as_it_is_taken_to_be() -> None:
    key = "units/search/0123456789abcdef0123.00001.parquet"
    ref = FileRef(key, 8_123_456, "0" * 64, 409_600)
    assert len(canonical_json(to_json(ref))) == pytest.approx(REF_BYTES, rel=0.05)


def test_models_run_on_gpus_where_there_are_some() -> None:
    found = forecast(work(), cluster(gpus=8), Rates())
    assert named(found, "embed").workers == 512
    assert named(found, "search").slots == 1_024
    assert found.bottleneck.need.stage == "embed"
    never = ClusterSettings(gpu="never")
    assert named(forecast(work(), cluster(gpus=8, settings=never), Rates()), "embed").slots == 1_024


def test_a_pool_that_does_not_fit_is_refused() -> None:
    with pytest.raises(PlanRefused, match="9 actors"):
        forecast(work(), cluster(1, 2, settings=ClusterSettings(actors=9)), Rates())


def test_enough_memory_and_no_driver_to_fill_leave_nothing_to_say() -> None:
    found = forecast(work(10**6, 1_000), cluster(1, 2, memory_bytes=1e12), Rates())
    assert misfits(found) == []


def test_a_driver_that_holds_too_much_is_named() -> None:
    found = forecast(work(10**11), cluster(), Rates())
    assert found.driver.need.stage == "compare"
    lines = [line for line in misfits(found) if "the driver needs" in line]
    assert [line.split(":")[0] for line in lines] == ["compare"]


def test_the_batch_of_queries_does_not_fill_the_driver() -> None:
    few, many = (forecast(work(queries=n), cluster(), Rates()) for n in (10**5, 10**7))
    assert named(few, "deliver").driver_bytes == named(many, "deliver").driver_bytes


def test_advice_names_settings_that_there_are_for_every_stage() -> None:
    from tests.unit.test_forecast_columns import with_columns  # it reads this file

    some = with_columns(rerankers=(LANGUAGE, CROSS), query_parts=1)
    every = replace(some, searches=(*some.searches, *ROUNDS))
    stages = {advice.kind(s.need.stage) for s in forecast(every, cluster(), Rates()).stages}
    assert set(advice.SMALLER_DRIVER) == stages
    assert set(advice.SMALLER_WORKER) == stages - {"deliver"}
    assert set(advice.MORE_UNITS) | set(advice.NAMED) <= stages
    said = [*advice.SMALLER_WORKER.values(), *advice.SMALLER_DRIVER.values()]
    names = re.findall(r"(\w+)\.(\w+)", " ".join([*said, *advice.MORE_UNITS.values()]))
    settings = Settings()
    firsts = {
        "encoder": settings.dense,
        "index": settings.index_of(DENSE),
        "reranker": CrossSettings(),
    }
    tables = {t: firsts.get(t, getattr(settings, t)) for t, _ in names}
    assert [f"{t}.{n}" for t, n in names if not hasattr(tables[t], n)] == []


def test_parameters_are_those_of_the_layers() -> None:
    """Six layers of four square matrices and two of the feed-forward part, and a pooler."""
    counted = 6 * (4 * 384 * 384 + 2 * 384 * 1536) + 384 * 384
    assert encoder_size(Settings().dense).multiplied == counted
    assert cross_size(CrossSettings()).multiplied == counted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("passages", float("nan")),
        ("queries", 0.5),
        ("passages", float("inf")),
        ("nodes", 0),
        ("gpus", -1),
        ("memory", 0.0),
        ("gpu_tflops", -1.0),
    ],
)
def test_nonsense_is_refused(name: str, value: Any) -> None:
    job = replace(ClusterJob(1e6, 1e3, 1, 2, 0, 24.0, 1.0, None), **{name: value})
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} is {value}"):
        explain_cluster(job, Settings())


def run_command(*more: str) -> str:
    code = (
        "import sys\nfrom shardrank.jobs.cli import main\ntry: main()\n"
        "finally: print('loaded', *sorted({'ray', 'torch', 'faiss'} & set(sys.modules)))"
    )
    arguments = [sys.executable, "-c", code, *COMMAND.split(), *more]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_says_it_all_and_loads_nothing_heavy() -> None:
    said = run_command()
    assert "Bottleneck: embed, 8.5 h or 97% of index, bound by compute." in said
    assert "merge: there are units for 245 of 1,024 workers" in said
    assert "TFLOP" not in said
    assert said.endswith("loaded\n")


def test_the_readme_says_what_its_command_does() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"$ shardrank {COMMAND}\n" in readme
    said = [line.split() for line in run_command().splitlines()]
    index, rank = ([line[1] for line in said if line[:1] == [flow]] for flow in ("index", "rank"))
    sentence = f"here {index[0]} hours to index, nearly all of them for embedding, and {rank[0]}"
    assert f"{sentence} minutes to rank" in " ".join(readme.split())


def test_a_gpu_that_was_never_measured_is_called_so() -> None:
    assert "Assumed, not measured: 20 TFLOP/s a GPU" in run_command("--gpus", "8")
    assert "not measured" not in run_command("--gpus", "8", "--gpu-tflops", "90")
