"""Pools: what there is, what may come, and room for what reads and writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.errors import PlanRefused
from shardrank.core.pools import (
    ACTOR_CPUS,
    TASK_CPUS,
    Resources,
    growing,
    plan_pool,
    plan_search,
)
from shardrank.core.settings import ClusterSettings
from shardrank.stages.run.hosts import Step
from shardrank.stages.run.ray_pools import fitting


def test_a_pool_begins_with_what_stands_and_grows_to_what_may_come() -> None:
    now, wants = Resources(4.0, 0.0, 4.0), ClusterSettings(max_cpus=16)
    pool = plan_pool(growing(now, wants), wants)
    assert (pool.actors, pool.first) == (16, 4)
    assert plan_pool(now, ClusterSettings()).first is None
    assert growing(now, ClusterSettings(max_cpus=2)) is now
    on_gpus = ClusterSettings(max_gpus=8)
    pool = plan_pool(growing(now, on_gpus), ClusterSettings(max_gpus=8, actors=4))
    assert (pool.actors, pool.first, pool.gpus) == (4, 1, 1.0)


@pytest.mark.parametrize(
    ("device", "gpu", "gpus", "wanted"),
    [
        ("auto", "auto", 2, (2, 1.0, "cuda")),
        ("auto", "never", 2, (8, 0.0, "cpu")),
        ("auto", "auto", 0, (8, 0.0, "cpu")),
        ("cpu", "auto", 2, (8, 0.0, "cpu")),
        ("gpu", "auto", 2, (2, 1.0, "cuda")),
    ],
)
def test_a_search_is_where_it_is_asked_for(
    device: str, gpu: str, gpus: int, wanted: tuple[int, float, str]
) -> None:
    pool = plan_search(Resources(8.0, gpus), ClusterSettings(gpu=gpu), device)
    assert (pool.actors, pool.gpus, pool.device) == wanted


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(PlanRefused, match=r"search\.device = gpu, but the cluster has 8 CPUs"):
        plan_search(Resources(8.0), ClusterSettings(), "gpu")
    with pytest.raises(PlanRefused, match=r"cluster\.gpu = never"):
        plan_search(Resources(8.0, 2.0), ClusterSettings(gpu="never"), "gpu")


@given(cpus=st.integers(1, 64), more=st.integers(0, 512), units=st.integers(2, 500))
def test_what_reads_and_writes_leaves_models_room(cpus: int, more: int, units: int) -> None:
    wants = ClusterSettings(max_cpus=cpus + more)
    model = Step(dict, plan_pool(growing(Resources(float(cpus)), wants), wants))
    steps = fitting([Step(dict, cpus=TASK_CPUS), model, Step(dict, cpus=TASK_CPUS)], units, cpus)
    pools = [step.pool for step in steps if step.pool]
    around = sum(p.actors * p.cpus for p in (pools[0], pools[2]))
    first = min(pools[1].first or pools[1].actors, pools[1].actors)
    assert around + first * ACTOR_CPUS <= cpus
