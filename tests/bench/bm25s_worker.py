"""Runs in bm25s's own environment, which `make build/bm25s/.made` makes.

    python bm25s_worker.py GIVEN.json OUT.npz

GIVEN has `passages` and `queries` as lists of words, and `documents` and `asked` as texts. OUT gets
`scores`, float32[queries, passages], what bm25s makes of those words; `exact`, the same by its
float64; and `found` and `found_scores`, [queries, k], its first documents by its own words.
"""

import json
import sys
from pathlib import Path
from typing import Any

import bm25s
import numpy as np


def scores(given: dict[str, Any], dtype: str) -> Any:
    """Of every passage for every query, by the given words."""
    model = bm25s.BM25(method="lucene", k1=1.5, b=0.75, dtype=dtype)
    model.index(given["passages"], show_progress=False)
    ids = (model.get_tokens_ids(words) for words in given["queries"])  # get_scores wants a word
    return np.stack([model.get_scores_from_ids(each) for each in ids])


def found(given: dict[str, Any]) -> tuple[Any, Any]:
    """By bm25s's defaults alone."""
    model = bm25s.BM25()
    model.index(bm25s.tokenize(given["documents"], show_progress=False), show_progress=False)
    asked = bm25s.tokenize(given["asked"], return_ids=False, show_progress=False)
    k = min(given["k"], len(given["documents"]))
    first: tuple[Any, Any] = model.retrieve(asked, k=k, show_progress=False)
    return first


def main() -> None:
    """Answer once."""
    given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    documents, best = found(given)
    np.savez(
        sys.argv[2],
        scores=scores(given, "float32"),
        exact=scores(given, "float64"),
        found=documents,
        found_scores=best,
    )


if __name__ == "__main__":
    main()
