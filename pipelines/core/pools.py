"""How many workers a cluster can hold: arithmetic, so that a plan is refused before it hangs.

Ray waits for ever, in silence, when actors hold every CPU and nothing is left to read for them.
So a pool is sized from the cluster's real resources and always leaves room for one task.
"""

from dataclasses import dataclass, replace

from shardrank.core.errors import PlanRefused
from shardrank.core.settings import ClusterSettings

#: CPUs held by one reading or writing task, and by one model actor (it computes on one thread).
TASK_CPUS = 0.25
ACTOR_CPUS = 0.75


@dataclass(frozen=True)
class Resources:
    """What a cluster has, or may come to have where it grows as it is needed.

    Attributes:
        cpus: logical ones, of all nodes.
        gpus: likewise.
        largest: CPUs of its largest node; None: it is one machine.
        ready: CPUs and GPUs of the nodes that stand now; None: all do.
    """

    cpus: float
    gpus: float = 0.0
    largest: float | None = None
    ready: tuple[float, float] | None = None

    def explain(self) -> str:
        """In words."""
        if self.ready is None:
            return f"{self.cpus:g} CPUs and {self.gpus:g} GPUs"
        cpus, gpus = self.ready
        return (
            f"{cpus:g} CPUs and {gpus:g} GPUs now, up to {self.cpus:g} and {self.gpus:g} as the "
            "cluster grows"
        )

    @property
    def threads(self) -> int:
        """Of a unit that has a node to itself."""
        return max(1, int(self.cpus if self.largest is None else self.largest))


def growing(now: Resources, cluster: ClusterSettings) -> Resources:
    """What a cluster may come to have, of which `now` stands."""
    ready = (now.cpus, now.gpus)
    cpus, gpus = max(now.cpus, cluster.max_cpus or 0), max(now.gpus, cluster.max_gpus or 0)
    return now if (cpus, gpus) == ready else replace(now, cpus=cpus, gpus=gpus, ready=ready)


@dataclass(frozen=True)
class Pool:
    """A pool of equal actors; each holds `cpus` and `gpus` and computes on `device`.

    Where the cluster grows, the pool begins with `first` actors; None: with all of them.
    """

    actors: int
    cpus: float
    gpus: float
    device: str
    first: int | None = None

    def explain(self) -> str:
        """The pool as arithmetic, for `shardrank plan`."""
        gpus = f" + {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.actors} actors × ({self.cpus:g} CPU{gpus}) on {self.device}"


def plan_pool(resources: Resources, cluster: ClusterSettings, units: int | None = None) -> Pool:
    """The pool for a model stage: one actor a GPU where there are GPUs, else one a CPU.

    Args:
        resources: of the cluster.
        cluster: settings; `actors` overrides the count.
        units: pieces of work, where known: more actors than that would only idle.

    Raises:
        PlanRefused: the pool and one task do not fit; the message shows the sum.
    """
    on_gpu = cluster.gpu == "auto" and resources.gpus >= 1
    gpus = 1.0 if on_gpu else 0.0
    wanted = cluster.actors or int(resources.gpus if on_gpu else max(1, resources.cpus))
    _refuse_impossible(wanted, gpus, resources)
    actors = max(1, min(wanted, units)) if units is not None else wanted
    first = None if resources.ready is None else _fitting(actors, gpus, resources.ready)
    return Pool(actors, ACTOR_CPUS, gpus, "cuda" if on_gpu else "cpu", first)


def plan_search(
    resources: Resources, cluster: ClusterSettings, device: str, units: int | None = None
) -> Pool:
    """The pool for a search of vectors: as a model's, or on CPUs where `search.device` is cpu.

    Raises:
        PlanRefused: as `plan_pool`; or "gpu" is asked for, and there is none to be had.
    """
    if device == "gpu" and cluster.gpu == "never":
        raise PlanRefused(
            "search.device = gpu, but cluster.gpu = never gives no actor a GPU.",
            "Set cluster.gpu = auto, or search.device = auto.",
        )
    if device == "gpu" and resources.gpus < 1:
        raise PlanRefused(
            f"search.device = gpu, but the cluster has {resources.explain()}.",
            "Run it where there is a GPU, or set search.device = auto.",
        )
    return plan_pool(resources, on_cpus(cluster) if device == "cpu" else cluster, units)


def on_cpus(cluster: ClusterSettings) -> ClusterSettings:
    """The settings, for a pool that takes no GPU."""
    return cluster.model_copy(update={"gpu": "never"})


def _fitting(actors: int, gpus_each: float, ready: tuple[float, float]) -> int:
    """Of so many actors, those for which the nodes that stand have room; one in any case, for which
    an autoscaler brings a node where there is none."""
    cpus, gpus = ready
    return max(1, min(actors, int(gpus if gpus_each else cpus)))


def _refuse_impossible(actors: int, gpus_each: float, resources: Resources) -> None:
    needed = actors * ACTOR_CPUS + TASK_CPUS
    if needed > resources.cpus:
        most = int((resources.cpus - TASK_CPUS) / ACTOR_CPUS)
        raise PlanRefused(
            f"{actors} actors × {ACTOR_CPUS:g} CPU + {TASK_CPUS:g} CPU for reading = {needed:g} "
            f"CPUs, but the cluster has {resources.cpus:g}.",
            f"Set cluster.actors to {most} or fewer." if most else "Give the cluster a CPU more.",
        )
    if actors * gpus_each > resources.gpus:
        raise PlanRefused(
            f"{actors} actors × 1 GPU = {actors} GPUs, but the cluster has {resources.gpus:g}.",
            f"Set cluster.actors to {int(resources.gpus)} or fewer, or cluster.gpu to never.",
        )
