"""What a model has said of a query's passages, set by set."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from shardrank.core.arrays import Bool, Float32, Float64, Int32
from shardrank.core.protocols import ListScores
from shardrank.orders.by_score import minus_ranks

#: An order int32[n], the passages from the best; or grades float64[n].
Said = TypeVar("Said", Int32, Float64)


@dataclass(frozen=True, eq=False)
class Judgement(Generic[Said]):
    """What a model says of n passages.

    Attributes:
        said: its order or its grades; none: nothing.
        truncated: bool[n], which of them were cut.
        counts: see `ListScores`.
        answer: what it wrote.
    """

    said: Said | None
    truncated: Bool
    counts: Counter[str]
    answer: str | None = None


def too_long(n: int) -> Judgement[Any]:
    """Of a prompt about n passages that does not fit."""
    return Judgement(None, np.zeros(n, np.bool_), Counter(too_long=1))


@dataclass
class Heard:
    """What the judgements of a query's sets add up to.

    Attributes:
        n: passages of the query.
        keeps: whether answers are kept.
        asked: sets that were judged, or should have been.
        said: sets of which the model said something.
    """

    n: int
    keeps: bool
    asked: int = 0
    said: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    answers: list[str] = field(default_factory=list)
    truncated: Bool = field(init=False)

    def __post_init__(self) -> None:
        self.truncated = np.zeros(self.n, np.bool_)

    def take(self, places: Int32, judgement: Judgement[Any]) -> None:
        """Add a judgement, of the passages at these places."""
        self.truncated[places] |= judgement.truncated
        self.counts += judgement.counts
        self.asked += 1
        self.said += judgement.said is not None
        if self.keeps and judgement.answer is not None:
            self.answers.append(judgement.answer)

    def ranked(self, order: Int32) -> ListScores:
        """Minus the ranks, from -1, of int32[n] passages from the best. All NaN where the model was
        asked and never said anything: the order that there was is none of its."""
        if self.asked and not self.said:
            return self.scored(np.full(self.n, np.nan, np.float32))
        return self.scored(minus_ranks(order))

    def scored(self, scores: Float32) -> ListScores:
        """These scores, with what else was heard. A query that did not fit counts once."""
        counts = dict(self.counts)
        if "too_long" in counts:
            counts["too_long"] = 1
        return ListScores(scores, self.truncated, counts, tuple(self.answers))
