"""Runs in ranx's own environment, which `make build/ranx/.made` makes.

    python ranx_worker.py GIVEN.json OUT.json

GIVEN has `lists`, {query: {document: score}} of each retriever, the same queries in all, and
`fusions`, by name: `norm`, `method` and `params` of `ranx.fuse`. OUT gets {query: {document:
score}} of each.
"""

import json
import sys
from pathlib import Path
from typing import Any

from ranx import Run, fuse

List = dict[str, dict[str, float]]


def ranked(found: List) -> List:
    """-rank for score. The terms of rrf are of ranks alone, and of equal scores ranx puts any
    first."""
    return {q: {doc: -rank for rank, doc in enumerate(hits)} for q, hits in found.items()}


def fused(lists: list[List], norm: str | None, method: str, params: dict[str, Any]) -> List:
    """What ranx makes of the lists."""
    given = [ranked(each) for each in lists] if method == "rrf" else lists
    run = fuse([Run(each) for each in given], norm=norm, method=method, params=params)
    return {str(q): {str(doc): float(s) for doc, s in hits.items()} for q, hits in run.run.items()}


def main() -> None:
    """Answer once."""
    given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    answer = {name: fused(given["lists"], **how) for name, how in given["fusions"].items()}
    Path(sys.argv[2]).write_text(json.dumps(answer), "utf-8")


if __name__ == "__main__":
    main()
