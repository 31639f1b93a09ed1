"""Who is told that a run has ended: a webhook and a program. That they fail changes nothing."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from shardrank.core.event_settings import EventSettings
from shardrank.core.outcomes import Outcome
from shardrank.stages.run.reporter import Silent

#: Seconds before the second attempt; each further one waits twice as long.
PAUSE = 1.0


class NotTold(Exception):
    """A hook failed; its words hold nothing of the URL, in which a secret may stand."""


@dataclass(frozen=True)
class Origin:
    """Of which run events are: its flow, the INDEX, OUT or LABELS, the command, and who gave it."""

    flow: str
    path: str
    command: str
    by: str


class Events(Silent):
    """Tells the hooks of [events] how the run ended (protocol: Reporter).

    Args:
        settings: which hooks, and which endings.
        origin: of the events.
        noted: is told in a sentence where a hook failed.
    """

    def __init__(
        self, settings: EventSettings, origin: Origin, noted: Callable[[str], None]
    ) -> None:
        self._settings, self._origin, self._noted = settings, origin, noted
        self._run: str | None = None

    def named(self, flow: str, run: str) -> None:
        self._run = run

    def ended(self, outcome: Outcome) -> None:
        if outcome.ending not in self._settings.on:
            return
        body = json.dumps(event(self._origin, self._run, outcome)).encode()
        if self._settings.webhook:
            self._tell("The webhook", lambda: post(str(self._settings.webhook), body, self._limit))
        if self._settings.command:
            command = self._settings.command
            self._tell("The command of [events]", lambda: feed(command, body, self._limit))

    @property
    def _limit(self) -> float:
        return self._settings.timeout

    def _tell(self, who: str, attempt: Callable[[], None]) -> None:
        for again in range(self._settings.attempts):
            time.sleep(PAUSE * 2 ** (again - 1) if again else 0.0)
            try:
                return attempt()
            except NotTold as error:
                words = str(error)
        self._noted(f"{who} was not told how the run ended: {words}.")


def event(origin: Origin, run: str | None, outcome: Outcome) -> dict[str, Any]:
    """What hooks are told, as JSON has it. `run` is null where it failed before it had a name."""
    told = asdict(outcome)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"event": told.pop("ending"), "time": now, "run": run, **asdict(origin), **told}


def post(variable: str, body: bytes, limit: float) -> None:
    """Post it to the URL in a variable of the environment. Raises NotTold."""
    url = os.environ.get(variable, "")
    if not url.startswith(("http://", "https://")):
        raise NotTold(f"the variable {variable} holds no http:// or https:// URL")
    try:
        request = Request(url, body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=limit):
            return
    except HTTPError as error:
        raise NotTold(f"it answered {error.code}") from None
    except URLError as error:
        raise NotTold(f"it cannot be reached ({type(error.reason).__name__})") from None
    except (OSError, HTTPException, ValueError) as error:
        raise NotTold(type(error).__name__) from None


def feed(command: str, body: bytes, limit: float) -> None:
    """Run a program with it on standard input. Raises NotTold."""
    try:
        done = subprocess.run(
            shlex.split(command),
            input=body,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotTold(f"it did not end within {limit:g} s") from None
    except OSError as error:
        raise NotTold(error.strerror or type(error).__name__) from None
    if done.returncode:
        raise NotTold(f"it ended with exit code {done.returncode}")
