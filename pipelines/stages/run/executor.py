"""Where units run: on Ray, or in this process. Both give the same bytes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from shardrank.core.pools import Resources
from shardrank.core.units import Made, Spec, Stage, Unit
from shardrank.stages.run.hosts import Ended, Step
from shardrank.stages.run.reporter import Reporter
from shardrank.stages.run.workspace import Workspace


class Executor(Protocol):
    """Runs the steps of a stage on its units."""

    @property
    def resources(self) -> Resources:
        """What there is to run them on."""

    def shares(self) -> Mapping[str, float]:
        """How far the units underway are, by unit; those that tell nothing are left out."""

    def meter(self, flow: str, index: str) -> Reporter:
        """Who keeps the metrics of a run; nobody where nothing could fetch them.

        Args:
            flow: index, compact, rank or label.
            index: that it makes a version of; "": of none.
        """

    def news(self) -> list[str]:
        """What has happened to it since it was last asked, in sentences."""

    def sweep(
        self,
        workspace: Workspace,
        stage: Stage[Spec, Made],
        units: Sequence[Unit[Spec]],
        steps: Sequence[Step],
    ) -> Iterator[Ended]:
        """Units as they end; one failure stops no other unit.

        Raises:
            RunFailed: workers were lost for good.
        """
