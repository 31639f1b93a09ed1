"""Nights in a row by cron on one machine: what befalls them, and what came of it when."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import latest_version
from shardrank.storage.local import LocalStorage
from tests.world import VOCABULARY, write_lines

#: What befalls a night: nothing; cron does not run; half of the source is missing; kill -9.
Fate = Literal["good", "missed", "refused", "killed"]
RUN = (sys.executable, "-c", "from shardrank.jobs.cli import main; main()")
SETS = ("passages.max_tokens=16", "passages.part_size=16", "index.kind=exact")
#: As a shell, and so cron, sees a process that kill -9 ended.
KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True)
class Night:
    """What came of a night.

    Attributes:
        number: from 1.
        fate: what befell it.
        code: the command's exit code; None: it was not run.
        version: the number of the latest afterwards; 0: none.
        began, ended: seconds since 1970.
        texts: of the documents that there were, by id.
    """

    number: int
    fate: Fate
    code: int | None
    version: int
    began: float
    ended: float
    texts: Mapping[str, str]


@dataclass
class Machine:
    """A document store, and the machine on which cron indexes it every night.

    Attributes:
        root: where the corpus and the index lie.
        encoder: the model's folder.
        sets: more settings, such as where metrics go.
    """

    root: Path
    encoder: Path
    sets: Sequence[str] = ()
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def index(self) -> Path:
        return self.root / "index"

    def live_through(self, fates: Sequence[Fate], every: float = 0.0) -> Iterator[Night]:
        """The nights as they end; one begins `every` seconds after another, or when that ended."""
        first = time.time()
        for number, fate in enumerate(fates, start=1):
            time.sleep(max(0.0, first + (number - 1) * every - time.time()))
            yield self.night(number, fate)

    def night(self, number: int, fate: Fate) -> Night:
        """Some documents come, go and change; then cron runs, unless it is missed."""
        began = time.time()
        self._change()
        code = None if fate == "missed" else self._run(fate)
        found = latest_version(Workspace(LocalStorage(str(self.index))))
        version = found.number if found else 0
        return Night(number, fate, code, version, began, time.time(), dict(self.texts))

    def _change(self) -> None:
        for doc_id in self._some(0.03):
            del self.texts[doc_id]
        self.texts |= {doc_id: self._text() for doc_id in self._some(0.1)}
        fresh = 20 if self.texts else 200
        self.texts |= {f"d{self.rng.randrange(10**9)}": self._text() for _ in range(fresh)}

    def _some(self, share: float) -> list[str]:
        return self.rng.sample(sorted(self.texts), int(share * len(self.texts)))

    def _text(self) -> str:
        return " ".join(self.rng.choices(VOCABULARY, k=self.rng.randint(5, 30)))

    def _run(self, fate: Fate) -> int:
        rows = [{"_id": doc_id, "text": text} for doc_id, text in self.texts.items()]
        rows = rows[: len(rows) // 2] if fate == "refused" else rows
        corpus = write_lines(self.root / "corpus.jsonl", rows)
        sets = (f"encoder.model={self.encoder}", *SETS, *self.sets)
        words = [*RUN, "index", corpus, str(self.index), *(w for s in sets for w in ("--set", s))]
        embedding = self._embedding()
        with (self.root / "cron.log").open("a") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
            if fate == "killed":
                self._kill_while_embedding(process, embedding)
            code = process.wait()
        return code if code >= 0 else 128 - code

    def _kill_while_embedding(self, process: subprocess.Popen[bytes], before: object) -> None:
        while process.poll() is None and self._embedding() == before:
            time.sleep(0.005)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def _embedding(self) -> object:
        """Another value once a run begins to embed."""
        records = self.index.glob("runs/*/stages/embed.json")
        return {path: path.stat().st_mtime_ns for path in records}
