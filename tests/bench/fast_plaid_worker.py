"""Runs in fast-plaid's own environment: builds and searches indexes, a request a line of its input.

    python fast_plaid_worker.py PASSAGES.npz QUERIES.npz THREADS

Each file holds `ends` int64[n + 1] and `vectors` float32[t, d]. A request is JSON: what to `do`,
the index's `folder`, and arguments of FastPlaid's `create` or `search`. The answer is a line of
JSON: `seconds` by the clock and `spent` by the processor, of nothing but that call, and for a
search `found`, the numbers of passages by query. It imports nothing of this project: fast-plaid
1.7.0's wheels are each for one torch, of which the newest is 2.11 (2026-11-30).
"""

import json
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from fast_plaid.search import FastPlaid


def main() -> None:
    """Serve until the input ends."""
    passages, queries = (_texts(path) for path in sys.argv[1:3])
    torch.set_num_threads(int(sys.argv[3]))
    indexes: dict[str, Any] = {}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        do, folder = asked.pop("do"), asked.pop("folder")
        index = indexes.setdefault(folder, FastPlaid(folder, device="cpu"))
        began, spent = time.perf_counter(), time.process_time()
        if do == "create":
            index.create(passages, **asked)
            found = None
        else:
            found = index.search(queries, show_progress=False, **asked)
        answer = {
            "seconds": time.perf_counter() - began,
            "spent": time.process_time() - spent,
            "found": found and [[passage for passage, _ in each] for each in found],
        }
        print(json.dumps(answer), flush=True)


def _texts(path: str) -> list[torch.Tensor]:
    """float32[tokens, d] of each text."""
    with np.load(path) as held:
        vectors, ends = torch.from_numpy(held["vectors"]), held["ends"].tolist()
    return [vectors[begin:end] for begin, end in pairwise(ends)]


if __name__ == "__main__":
    main()
