"""Which executor a command uses: small work runs in this process, all else on Ray."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shardrank.core.errors import SettingsError
from shardrank.core.settings import ClusterSettings
from shardrank.kernels.limits import usable_cpus
from shardrank.kernels.machine import visible_gpus
from shardrank.models.forward.threads import threads_restored
from shardrank.stages.run.executor import Executor
from shardrank.stages.run.inline import Inline

#: Bytes of source files, of which a third is enough where they are compressed.
SMALL_SOURCE = 4 << 20
#: Stored passages that are searched, or rewritten, and pairs that are scored.
SMALL_INDEX, SMALL_PAIRS = 100_000, 16_384
#: CPUs of a machine that a Ray of its own would slow down.
SMALL_CPUS = 2


@dataclass(frozen=True)
class Amount:
    """How much a command has to do at most, as known before it begins.

    Attributes:
        source: bytes of text that are read.
        passages: of the index that is searched or rewritten.
        pairs: of queries and passages, scored by all rerankers.
    """

    source: int = 0
    passages: int = 0
    pairs: int = 0

    @property
    def small(self) -> bool:
        """Whether it takes about as long as Ray takes to start: a minute on two cores at most."""
        read = self.source <= SMALL_SOURCE
        return read and self.passages <= SMALL_INDEX and self.pairs <= SMALL_PAIRS


def runs_inline(settings: ClusterSettings, amount: Amount) -> bool:
    """What cluster.executor says; auto: small work, or any on a small machine, where no cluster is
    named."""
    if settings.executor == "auto":
        alone = cluster_address(settings) is None
        return alone and (amount.small or _is_small_machine(settings))
    return settings.executor == "inline"


def _is_small_machine(settings: ClusterSettings) -> bool:
    """Whether Ray would only take of what there is: two threads of a process do as much as two
    actors, in a third of the memory (docs/measured-speed.md)."""
    gpus = visible_gpus() if settings.gpu == "auto" else 0
    return not gpus and (settings.cpus or usable_cpus()) <= SMALL_CPUS


def cluster_address(settings: ClusterSettings) -> str | None:
    """Of the Ray cluster that is joined: the setting's, else the environment's, where Ray's job
    server puts it for a job's driver; None: a Ray is started on this machine.

    Raises:
        SettingsError: it is an address at which no driver can join.
    """
    address = settings.address or os.environ.get("RAY_ADDRESS") or None
    if address is not None and "://" in address:
        whose = "cluster.address" if settings.address else "The variable RAY_ADDRESS"
        raise SettingsError(
            f"{whose} is {address!r}: a job server or Ray Client, not a cluster's head.",
            "A driver joins HOST:PORT of the head. To run it as a job: shardrank submit.",
        )
    return None if address == "local" else address


@contextmanager
def opened(
    settings: ClusterSettings,
    amount: Amount,
    waits: Callable[[str], None],
    verbose: bool = False,
    meanwhile: str | None = None,
) -> Iterator[Executor]:
    """The executor for so much work.

    Args:
        settings: [cluster].
        amount: of work.
        waits: is told what is waited for.
        verbose: say what Ray says.
        meanwhile: a module that is imported while Ray starts; see `cluster.connect`.

    Raises:
        RunFailed: no Ray could be started or reached.
    """
    if runs_inline(settings, amount):
        with threads_restored():  # the process may be somebody's notebook
            yield Inline.of(settings)
        return
    from shardrank.stages.run.cluster import connect  # brings Ray: half a second

    with connect(settings, waits, verbose, meanwhile) as executor:
        yield executor
