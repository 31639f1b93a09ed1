"""What can go wrong, as recovery policy: the class of an error says what the caller may do next.

Every message says what was wrong and what was found; the hint says what to do.
"""

from collections.abc import Mapping, Sequence


class ShardrankError(Exception):
    """Base of all errors that shardrank raises on purpose.

    Attributes:
        message: what was wrong and what was found.
        hint: what to do about it; may be empty.
        exit_code: the process's exit status when the error reaches the command line.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class RunFailed(ShardrankError):
    """Some units failed; those that succeeded are kept, and a rerun is safe (exit code 1)."""


class CommitConflict(ShardrankError):
    """Somebody else holds what we wanted to create or lock; a rerun is safe (exit code 1)."""


class InputError(ShardrankError):
    """The data given by the user cannot be used (exit code 2)."""

    exit_code = 2


class SettingsError(ShardrankError):
    """A setting is unknown, malformed or contradicts another (exit code 2)."""

    exit_code = 2


class PlanRefused(ShardrankError):
    """The plan cannot be scheduled on this cluster (exit code 2)."""

    exit_code = 2


class IntegrityError(ShardrankError):
    """A stored file is not what its manifest vouches for (exit code 2)."""

    exit_code = 2


class AuditRefused(ShardrankError):
    """The audit did not reach its target, so nothing was published (exit code 3).

    Attributes:
        recall: what it found, by column.
    """

    exit_code = 3

    def __init__(
        self, message: str, hint: str = "", recall: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(message, hint)
        self.recall = dict(recall or {})


class GateRefused(ShardrankError):
    """The version differs too much from the one before it; nothing was published (exit code 3)."""

    exit_code = 3


class CommitStateUnknown(ShardrankError):
    """A commit may or may not have landed; touch nothing by hand, look first (exit code 4)."""

    exit_code = 4


def summarise_failures(failures: Sequence[tuple[str, str]], limit: int = 5) -> str:
    """One line per failed unit (name, reason): the first `limit`, then a count of the rest."""
    lines = [f"  {name}: {reason}" for name, reason in failures[:limit]]
    rest = len(failures) - limit
    return "\n".join([*lines, f"  … and {rest} more"] if rest > 0 else lines)
