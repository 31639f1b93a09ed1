"""How a command ended, as its run's record, its events and its metrics tell it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shardrank.core.errors import AuditRefused, GateRefused, ShardrankError

Ending = Literal["published", "unchanged", "done", "refused", "failed", "stopped"]

#: Exit codes of a command that was told to stop, by SIGINT and by SIGTERM.
INTERRUPTED, TERMINATED = 130, 143


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        ending: published: a version is new; unchanged: the latest stays; done: what is no version;
            refused: by gate or audit; failed: by any other error; stopped: by a signal.
        exit_code: of the command.
        said: what came of it or went wrong, in a sentence.
        version: the latest number of the index, where the command knows it.
        recall: what the audit found, by index; of an exact one 1.
        counts: of rows, documents, passages, pairs and the like, by name.
    """

    ending: Ending
    exit_code: int
    said: str
    version: int | None = None
    recall: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


def outcome_of(error: BaseException) -> Outcome:
    """What an error makes of a command."""
    match error:
        case AuditRefused():
            return Outcome("refused", error.exit_code, error.message, recall=error.recall)
        case GateRefused():
            return Outcome("refused", error.exit_code, error.message)
        case ShardrankError():
            return Outcome("failed", error.exit_code, error.message)
        case KeyboardInterrupt():
            return Outcome("stopped", INTERRUPTED, "Interrupted.")
        case SystemExit(code=int(code)):
            return Outcome("stopped", code, "Told to stop.")
    return Outcome("failed", 1, f"{type(error).__name__}: {error}")
