"""The pools of a sweep: how many actors each step has, and how Ray Data is told."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shardrank.core.pools import Pool
from shardrank.stages.run.hosts import Step

if TYPE_CHECKING:
    from ray.data import ActorPoolStrategy

#: Actors on CPUs for which one process reads, and one writes.
MODELS_SERVED = 4
#: Units for each actor of a pool, from which on it grows.
_BUSY = 1.0


def fitting(steps: Sequence[Step], units: int, cpus: int) -> list[Step]:
    """The steps with no more actors than units: the others would only load a model."""
    pools = [step.pool for step in steps if step.pool and not serves_once(step.pool, units)]
    around = [_beside(step, pools[0], cpus) if pools else step for step in steps]
    return [
        replace(step, pool=replace(step.pool, actors=min(step.pool.actors, units)))
        if step.pool
        else step
        for step in around
    ]


def _beside(step: Step, model: Pool, cpus: int) -> Step:
    """What reads or writes for a model, as a pool too. A node ends each process that is idle for a
    second where it has more than CPUs, actors among them: a task would find none, and start one for
    every unit. The two of a stage hold together what the plan left free for one task."""
    if step.pool or step.cpus >= 1:
        return step
    served = 1 if model.gpus else MODELS_SERVED
    # No more than there are CPUs now: on a cluster that is to grow they would leave models none.
    actors = max(1, min(-(-model.actors // served), cpus))
    return replace(step, pool=Pool(actors, step.cpus / 2, 0.0, "cpu"))


def _in_flight(pool: Pool, units: int) -> int:
    """Units given to an actor at once. With many, the next is there when one is done; of few, the
    first actor to stand would get all, and the others none."""
    return 2 if units >= 8 * pool.actors else 1


def serves_once(pool: Pool, units: int) -> bool:
    """Whether a task does as well as the pool: it runs in a process that there is already, which
    may have loaded the libraries. One that is done would keep a GPU's memory, though; and of tasks
    that are a whole pool's, Ray Data runs one after another, as it keeps CPUs for other steps."""
    return units == 1 and not pool.gpus


def strategy(pool: Pool, units: int) -> "ActorPoolStrategy":
    """A pool of one size; or, where the cluster grows, one that begins with what there is room for
    and grows with it. Ray Data asks an autoscaler for nodes while the pool is busy, and gives them
    back when the stage is over; it leaves room for what reads and writes."""
    from ray.data import ActorPoolStrategy  # a third of a second; see `OnRay.sweep`

    in_flight = _in_flight(pool, units)
    if pool.first is None:
        return ActorPoolStrategy(size=pool.actors, max_tasks_in_flight_per_actor=in_flight)
    first = min(pool.first, pool.actors)
    return ActorPoolStrategy(
        min_size=first, max_size=pool.actors, max_tasks_in_flight_per_actor=in_flight
    )


def grow_when_busy() -> None:
    """Have Ray Data add actors once each has a unit. As it begins, it waits until nearly all have
    two, which never comes where few units are given to an actor at once, or reading is slow."""
    from ray.data import DataContext  # as above

    DataContext.get_current().autoscaling_config.actor_pool_util_upscaling_threshold = _BUSY
