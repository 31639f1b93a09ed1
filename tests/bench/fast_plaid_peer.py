"""fast-plaid, in an environment of its own (make build/fastplaid/.made)."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from shardrank.core.arrays import Int64
from shardrank.core.token_vectors import TokenVectors

PYTHON = Path("build/fastplaid/bin/python")
WORKER = Path(__file__).with_name("fast_plaid_worker.py")


class FastPlaid:
    """A process that holds passages and queries, and builds and searches an index of them.

    Attributes:
        spent: seconds of the processor that its calls took so far.
    """

    def __init__(
        self, passages: TokenVectors, queries: TokenVectors, folder: Path, threads: int
    ) -> None:
        """What it is given, and what it makes, lies in `folder`, which may be kept: an index of the
        same passages is not made again by `ready`."""
        self.spent = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = hashlib.sha256(passages.vectors.tobytes()).hexdigest()[:16]
        given = [folder / "passages.npz", folder / "queries.npz"]
        for path, texts in zip(given, (passages, queries), strict=True):
            np.savez(path, ends=texts.ends, vectors=texts.vectors)
        self._process = subprocess.Popen(
            [PYTHON, WORKER, *given, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)},
        )
        self._answer()

    def ready(self, bits: int) -> None:
        """Make the index by default settings, unless it is there."""
        if not (self._index / "metadata.json").exists():
            self._ask("create", self._index, nbits=bits)

    def create(self, **arguments: Any) -> None:
        """An index in a folder that is used for nothing else."""
        self._ask("create", self._folder / "again", **arguments)

    def search(self, **arguments: Any) -> Int64:
        """int64[queries, top_k]: passages, -1 where it finds fewer."""
        found = self._ask("search", self._index, **arguments)["found"]
        filled = np.full((len(found), arguments["top_k"]), -1)
        for row, mine in zip(filled, found, strict=True):
            row[: len(mine)] = mine
        return filled

    @property
    def _index(self) -> Path:
        return self._folder / self._name

    def _ask(self, do: str, folder: Path, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, "folder": str(folder), **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.spent += answer["spent"]
        return answer

    def _answer(self) -> dict[str, Any]:
        """Its libraries print other lines there too."""
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise RuntimeError(f"{WORKER.name} ended: run it by hand to see why.")
