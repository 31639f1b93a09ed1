"""How the scores of a document's passages become the document's (Dai & Callan, SIGIR 2019: MaxP and
its like; a document by its best passage alone is what search finds it by)."""

from dataclasses import dataclass
from typing import Literal

FoldBy = Literal["max", "mean", "top", "weights"]

#: Passages that weights may tell apart, the best ones of a document: so many are kept for `tune`.
MOST = 16


@dataclass(frozen=True)
class Fold:
    """A document's score is the weighted mean of its passages' scores, in their order.

    Attributes:
        weights: of the best passage, of the second, …; those behind have none. A document with
            fewer passages is weighed by the first of them. Empty: all passages weigh alike.
        documents: of each query, the first by their best passages, that are folded.
    """

    weights: tuple[float, ...]
    documents: int
