"""Settings of what is told of a run, beside its own console: events and the log."""

import re
import shlex
from typing import Any, Literal

from pydantic import field_validator

from shardrank.core.errors import SettingsError
from shardrank.core.outcomes import Ending
from shardrank.core.settings_base import SettingsTable, resize


class EventSettings(SettingsTable):
    """[events]: who is told that a run of index, compact, rank or label has ended."""

    on: tuple[Ending, ...] = resize(
        ("published", "refused", "failed"),
        "endings that are told; others: unchanged (no new version), done (rank, label), stopped",
    )
    webhook: str | None = resize(
        None,
        "name of an environment variable that holds a URL, to which the event is posted as JSON",
    )
    command: str | None = resize(
        None, "a program and its arguments, which gets the event as JSON on its standard input"
    )
    timeout: float = resize(10.0, "seconds until an attempt to tell is given up", gt=0)
    attempts: int = resize(3, "attempts to tell; the run goes on without", ge=1)

    @field_validator("on", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """--set events.on=published,failed"""
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value

    @field_validator("webhook")
    @classmethod
    def _is_name(cls, value: str | None) -> str | None:
        """A URL may hold a secret, and commands are kept in records and reports."""
        if value is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
            raise SettingsError(
                "events.webhook is no name of an environment variable.",
                "Put the URL, which may hold a secret, into a variable, and name that.",
            )
        return value

    @field_validator("command")
    @classmethod
    def _can_be_split(cls, value: str | None) -> str | None:
        try:
            words = shlex.split(value or "")
        except ValueError as error:
            raise SettingsError(f"events.command cannot be read: {error}.", "") from None
        if value is not None and not words:
            raise SettingsError("events.command names no program.", "Leave it out.")
        return value


class LogSettings(SettingsTable):
    """[log]: what a command says on standard error while it runs."""

    format: Literal["text", "json"] = resize(
        "text", "bars on a terminal and lines elsewhere, or a JSON object a line"
    )
