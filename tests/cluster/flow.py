"""Index, rank and label of a small world, as commands, and what a reader sees of what they made."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.protocols import Storage
from shardrank.core.settings import S3Settings
from shardrank.storage import open_storage
from shardrank.storage.client import filesystem
from tests.world import World, snapshot_of

FORMAT = "margin-mse"


@dataclass(frozen=True)
class Flow:
    """The three commands over `source`, into `root`: folders or s3://."""

    world: World
    source: str
    root: str
    sets: Sequence[str]

    @property
    def commands(self) -> dict[str, list[str]]:
        """By name, in their order."""
        queries, qrels = f"{self.source}/queries.jsonl", f"{self.source}/qrels.tsv"
        index, ranked, labels = (f"{self.root}/{name}" for name in ("index", "ranked", "labels"))
        judged = ["--qrels", qrels]
        words = {
            "index": ["index", f"{self.source}/corpus.jsonl", index],
            "rank": ["rank", index, queries, ranked, *judged],
            "label": ["label", ranked, labels, "--format", FORMAT, *judged],
        }
        models = (
            f"encoder.model={self.world.encoder}",
            f"reranker.model={self.world.reranker}",
        )
        sets = [word for value in (*models, *self.sets) for word in ("--set", value)]
        return {name: [*given, *sets] for name, given in words.items()}


@dataclass(frozen=True)
class Left:
    """What a flow's commands have left in `root`, read by way of `endpoint` where it is on S3."""

    root: str
    endpoint: str | None = None

    def storage(self, name: str) -> Storage:
        """Of what a command makes: index, ranked, labels."""
        return open_storage(f"{self.root}/{name}", S3Settings(endpoint=self.endpoint))

    def seen(self) -> dict[str, Any]:
        """What must be equal byte for byte: also the rows of labels."""
        labels = self.storage("labels")
        rows = [e.key for e in labels.list(FORMAT) if e.key.endswith(".parquet")]
        assert rows
        kept = snapshot_of(self.storage("index"), self.storage("ranked"))
        return kept | {f"labels/{key}": labels.read(key) for key in rows}

    def done(self, command: str, stage: str) -> int:
        """Units of a stage that are finished."""
        entries = self.storage(MADE[command]).list(f"units/{stage}")
        return len([entry for entry in entries if entry.key.endswith(".json")])

    def begun(self, command: str, stage: str) -> list[int]:
        """The units of a stage, for each run in which it began."""
        storage = self.storage(MADE[command])
        keys = [e.key for e in storage.list("runs") if e.key.endswith(f"/stages/{stage}.json")]
        return [len(json.loads(storage.read(key))["units"]) for key in keys]


#: What each command makes.
MADE = {"index": "index", "rank": "ranked", "label": "labels"}


def upload(folder: Path, to: str, endpoint: str) -> None:
    """A world's source files, to S3."""
    files = filesystem(S3Settings(endpoint=endpoint))
    for path in folder.iterdir():
        files.pipe_file(f"{to}/{path.name}", path.read_bytes())


def differing(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What was lost, doubled or changed."""
    names = sorted(found.keys() | expected.keys())
    return [name for name in names if found.get(name) != expected.get(name)]
