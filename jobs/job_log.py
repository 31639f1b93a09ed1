"""A job's log, which its job server hands on from the beginning as often as it is asked."""

import asyncio
import sys
import time
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING

from shardrank.jobs.job_server import first_line

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

#: Seconds without a word after which the rest of a finished job's log is asked for anew, or given
#: up.
LAST_WORDS = 10.0


class JobLog:
    """A job's log on standard output, as it comes, each character once.

    Args:
        client: of its job server.
        name: of the job.
    """

    def __init__(self, client: "JobSubmissionClient", name: str) -> None:
        self._client, self._name = client, name
        self._reading: _Reading | None = None
        self._shown = self._at = 0
        self._ended = False
        self._trouble = ""

    def show(self, seconds: float) -> None:
        """What comes in that time; ends sooner where the log does."""
        until = time.monotonic() + seconds
        self._ended = False
        while (left := until - time.monotonic()) > 0:
            try:
                said = self._read().texts.get(timeout=left)
            except Empty:
                return
            if isinstance(said, str):
                self._write(said)
                continue
            self._reading, self._ended = None, said is None
            if said is None:
                return
            self._trouble = first_line(said)
            time.sleep(max(0.0, until - time.monotonic()))

    def finish(self) -> str:
        """The rest, once the job is over; returns why it did not come, or nothing."""
        for _ in range(2):
            before = -1
            while not self._ended and self._shown > before:
                before = self._shown
                self.show(LAST_WORDS)
            if self._ended:
                return ""
            self._reading = None
        return self._trouble or "it did not come to its end"

    def _read(self) -> "_Reading":
        if self._reading is None:
            self._reading, self._at = _Reading(self._client, self._name), 0
        return self._reading

    def _write(self, text: str) -> None:
        new = text[max(0, self._shown - self._at) :]
        self._at += len(text)
        self._shown = max(self._shown, self._at)
        sys.stdout.write(new)
        sys.stdout.flush()


class _Reading:
    """One reading of a log from its beginning, in a thread: a connection to a machine that is gone
    would hold everything up for ever.

    Attributes:
        texts: pieces of the log, then None at its end, or what went wrong.
    """

    def __init__(self, client: "JobSubmissionClient", name: str) -> None:
        self.texts: Queue[str | Exception | None] = Queue()
        self._client, self._name = client, name
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            asyncio.run(self._tail())
        except Exception as error:  # of Ray, aiohttp or the network: the job goes on all the same
            self.texts.put(error)
        else:
            self.texts.put(None)

    async def _tail(self) -> None:
        async for text in self._client.tail_job_logs(self._name):
            self.texts.put(text)
