"""Pools: what there is, what may come, and room for what reads and writes."""

from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.pools import ACTOR_CPUS, TASK_CPUS, Resources, growing, plan_pool
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


@given(cpus=st.integers(1, 64), more=st.integers(0, 512), units=st.integers(2, 500))
def test_what_reads_and_writes_leaves_models_room(cpus: int, more: int, units: int) -> None:
    wants = ClusterSettings(max_cpus=cpus + more)
    model = Step(dict, plan_pool(growing(Resources(float(cpus)), wants), wants))
    steps = fitting([Step(dict, cpus=TASK_CPUS), model, Step(dict, cpus=TASK_CPUS)], units, cpus)
    pools = [step.pool for step in steps if step.pool]
    around = sum(p.actors * p.cpus for p in (pools[0], pools[2]))
    first = min(pools[1].first or pools[1].actors, pools[1].actors)
    assert around + first * ACTOR_CPUS <= cpus
