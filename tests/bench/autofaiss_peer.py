"""autofaiss in an environment of its own, which `make bench` makes; see autofaiss_worker.py."""

import json
import subprocess
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from shardrank.core.arrays import Float32

PYTHON = Path("build/autofaiss/bin/python")
WORKER = Path(__file__).with_name("autofaiss_worker.py")


class Autofaiss:
    """A process that holds the vectors and builds indexes from them."""

    def __init__(self, vectors: Float32, folder: Path) -> None:
        given, self._made = folder / "autofaiss.npy", folder / "autofaiss.faiss"
        np.save(given, vectors)
        self._process = subprocess.Popen(
            [PYTHON, WORKER, given, self._made],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._wait("ready")

    def build(self, **arguments: Any) -> faiss.Index:
        """The index that `autofaiss.build_index` makes with these arguments."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        self._wait("done")
        return faiss.read_index(str(self._made))

    def _wait(self, word: str) -> None:
        """Its libraries print bars there too."""
        assert self._process.stdout
        for line in self._process.stdout:
            if line.strip() == word:
                return
        raise RuntimeError(f"{WORKER.name} ended: run it by hand to see why.")
