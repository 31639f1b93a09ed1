"""Runs in autofaiss's own environment: builds an index for each line of its input.

    python autofaiss_worker.py VECTORS.npy OUT.faiss

A line is JSON: arguments of `autofaiss.build_index`. The answer, one line, is "done"; the index
lies in OUT.faiss then. It imports nothing of this project, whose environment autofaiss does not
bear: 2.18.0 pins numpy below 2, which today's pyarrow and faiss refuse (2026-11-25).
"""

import json
import logging
import sys
from typing import Any

import faiss
import numpy as np
from autofaiss import build_index


def main() -> None:
    """Serve until the input ends."""
    vectors = np.load(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        arguments: dict[str, Any] = json.loads(line)
        index, _ = build_index(
            vectors, save_on_disk=False, metric_type="ip", verbose=logging.ERROR, **arguments
        )
        faiss.write_index(index, sys.argv[2])
        print("done", flush=True)


if __name__ == "__main__":
    main()
