"""A cluster's nodes: which code they run, asked before any work since Ray starts tasks on any of
them; and which were lost."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from shardrank.core.errors import PlanRefused
from shardrank.stages.run.losses import lost

#: Seconds for all nodes to answer: a process has to start, and may have to unpack a job's files.
PATIENCE = 300.0
#: Seconds until Ray surely knows that a node is lost: it asks five times, every three seconds.
NOTICED = 20.0

_HINT = (
    "Every node needs the same Python, Ray and shardrank: install them there, send them with the "
    "job (docs/cluster.md), or take the nodes out of the cluster. No work was done yet."
)


@dataclass(frozen=True)
class Node:
    """A node that is alive: its id, its address, and its logical CPUs."""

    id: str
    address: str
    cpus: float


def nodes() -> list[Node]:
    """Those that are alive and can run something."""
    found: Any = ray.nodes()  # type: ignore[no-untyped-call]
    alive = (each for each in found if each["Alive"])
    every = [
        Node(each["NodeID"], each["NodeManagerAddress"], each["Resources"].get("CPU", 0.0))
        for each in alive
    ]
    return [node for node in every if node.cpus]


def known_nodes() -> Mapping[str, bool]:
    """All that Ray knows of, by address, and whether they live."""
    found: Any = ray.nodes()  # type: ignore[no-untyped-call]
    ordered = sorted(found, key=lambda each: bool(each["Alive"]))
    return {each["NodeManagerAddress"]: bool(each["Alive"]) for each in ordered}


def what_changed(before: Mapping[str, bool], now: Mapping[str, bool]) -> list[str]:
    """Nodes that were lost, and such as came, in sentences."""
    lost = [name for name, lives in now.items() if before.get(name) and not lives]
    came = [name for name, lives in now.items() if lives and not before.get(name)]
    return [
        *(f"Node {name} was lost; what ran there is begun again elsewhere." for name in lost),
        *(f"Node {name} has come." for name in came),
    ]


def lost_nodes() -> frozenset[str]:
    """Ids of those that Ray knows to be dead."""
    found: Any = ray.nodes()  # type: ignore[no-untyped-call]
    return frozenset(each["NodeID"] for each in found if not each["Alive"])


def have_more_been_lost(before: frozenset[str]) -> bool:
    """Whether more nodes are lost than before; it is waited for until Ray would know."""
    until = time.monotonic() + NOTICED
    while lost_nodes() <= before:
        alone = len(ray.nodes()) - len(before) < 2  # type: ignore[no-untyped-call]
        if alone or time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


def refuse_strangers(found: list[Node]) -> None:
    """Raise PlanRefused, naming the nodes, where some run other code than this process, or none."""
    from shardrank.stages.run.code import own_code

    asked = {_ask(node): node for node in found}
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE)
    told = [f"{asked[each].address}: {said}" for each in ready if (said := _said(each, own_code()))]
    if told:
        lines = "\n".join(f"  {line}" for line in sorted(told))
        raise PlanRefused(f"Some nodes of the cluster run other code:\n{lines}", _HINT)


def _ask(node: Node) -> Any:
    here = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return _code_there.options(num_cpus=0, max_retries=1, scheduling_strategy=here).remote()


def _said(answer: Any, own: Any) -> str:
    """What is wrong with a node; "": nothing, or it vanished meanwhile."""
    try:
        return str(ray.get(answer).differs(own))
    except RayError as error:
        words = lost(error)
        return words.message if "could not load" in words.message else ""


@ray.remote
def _code_there() -> Any:
    from shardrank.stages.run.code import own_code

    return own_code()
