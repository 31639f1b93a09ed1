"""Who is told that a run has ended: a webhook and a program. That they fail changes nothing.

They are told when the run holds nothing any more, neither Ray nor a lock: they may take their time.
Of one that is stopped they are told at once, and in a hurry.
"""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException
from threading import Thread
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from shardrank.core.event_settings import EventSettings
from shardrank.core.outcomes import Outcome
from shardrank.core.times import utc_moment
from shardrank.stages.run.reporter import Silent

#: Seconds before the second attempt; each further one waits twice as long.
PAUSE = 1.0
#: Seconds for all hooks together where a run is stopped: `ray job stop` kills after three.
HURRY = 1.5


class NotTold(Exception):
    """A hook failed; its words hold nothing of the URL, in which a secret may stand."""


@dataclass(frozen=True)
class Origin:
    """Of which run events are: its flow, the INDEX, OUT or LABELS, the command, and who gave it."""

    flow: str
    path: str
    command: str
    by: str


@dataclass(frozen=True)
class Hook:
    """Who is told, and how: `tell` takes the seconds that it has, and raises NotTold."""

    who: str
    tell: Callable[[float], None]


class Events(Silent):
    """Tells the hooks of [events] how the run ended (protocol: Reporter): at once where it was
    stopped, else when `tell` is called.

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
        self._hooks: Sequence[Hook] = ()

    def named(self, flow: str, run: str) -> None:
        self._run = run

    def ended(self, outcome: Outcome) -> None:
        if outcome.ending in self._settings.on:
            self._hooks = self._wanted(outcome)
        if outcome.ending == "stopped":
            self.tell(hurried=True)

    def tell(self, hurried: bool = False) -> None:
        """Tell those that are not told yet; in a hurry each once, all at the same time."""
        hooks, self._hooks = self._hooks, ()
        if hurried:
            self._hurry(hooks)
            return
        for hook in hooks:
            self._tell(hook)

    def _wanted(self, outcome: Outcome) -> Sequence[Hook]:
        settings, hooks = self._settings, []
        body = json.dumps(event(self._origin, self._run, outcome)).encode()
        if name := settings.webhook:
            hooks.append(Hook("The webhook", lambda limit: post(name, body, limit)))
        if command := settings.command:
            hooks.append(Hook("The command of [events]", lambda limit: feed(command, body, limit)))
        return hooks

    def _tell(self, hook: Hook) -> None:
        for again in range(self._settings.attempts):
            time.sleep(PAUSE * 2 ** (again - 1) if again else 0.0)
            try:
                return hook.tell(self._settings.timeout)
            except NotTold as error:
                words = str(error)
        self._note(hook.who, words)

    def _hurry(self, hooks: Sequence[Hook]) -> None:
        """A hook that takes longer is left behind: its thread holds up nothing."""
        limit = min(HURRY, self._settings.timeout)
        words = {hook.who: f"it took over {limit:g} s" for hook in hooks}

        def attempt(hook: Hook) -> None:
            try:
                hook.tell(limit)
                del words[hook.who]
            except NotTold as error:
                words[hook.who] = str(error)

        threads = [Thread(target=attempt, args=[hook], daemon=True) for hook in hooks]
        for thread in threads:
            thread.start()
        end = time.monotonic() + limit
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        for who, why in list(words.items()):
            self._note(who, why)

    def _note(self, who: str, why: str) -> None:
        self._noted(f"{who} was not told how the run ended: {why}.")


def event(origin: Origin, run: str | None, outcome: Outcome) -> dict[str, Any]:
    """What hooks are told, as JSON has it. `run` is null where it failed before it had a name."""
    told = asdict(outcome)
    about = {"event": told.pop("ending"), "time": utc_moment(), "run": run}
    return {**about, **asdict(origin), **told}


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
