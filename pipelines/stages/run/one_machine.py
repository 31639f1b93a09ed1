"""Ray Data on one machine: without the actors that serve a growing cluster and a dashboard.

Both take a second of a core to start, and the first stage would wait for them: one says how much
of the cluster is this run's, the other numbers datasets and gathers figures that nobody reads.
"""

from typing import Any
from uuid import uuid4

import ray

#: The Ray whose inner parts these are; with another one nothing is replaced, and it starts later.
_KNOWN = "2.60."


class OneMachine:
    """All of this machine for whoever asks (protocol: Ray Data's AutoscalingCoordinator)."""

    def __init__(self, requester_id: str, **_: Any) -> None:
        nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
        self._nodes = {node["NodeID"]: dict(node["Resources"]) for node in nodes if node["Alive"]}

    def request_resources(self, *_: Any, **__: Any) -> None:
        """Nothing more is to be had."""

    def cancel_request(self) -> None:
        """Nothing was asked for."""

    def get_reserved_resources(self) -> dict[str, dict[str, float]]:
        """What each node has."""
        return self._nodes


def settle_for_one_machine() -> None:
    """For Ray Data in this process, from now on."""
    if not ray.__version__.startswith(_KNOWN):
        return
    from ray.data._internal import stats
    from ray.data._internal.cluster_autoscaler import rate_based_cluster_autoscaler as scaling

    autoscaler: Any = scaling
    autoscaler.DefaultAutoscalingCoordinator = OneMachine
    manager: Any = stats._StatsManager
    manager.gen_dataset_id_from_stats_actor = staticmethod(lambda: uuid4().hex)
    manager.register_dataset_to_stats_actor = staticmethod(_nothing)
    manager.update_execution_metrics = staticmethod(_nothing)
    manager.update_iteration_metrics = staticmethod(_nothing)


def _nothing(*_: Any, **__: Any) -> None: ...
