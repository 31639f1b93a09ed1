"""What comes of tuning how the scores of a document's passages become its own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from shardrank.core.fold_grid import Weights, fold_set

#: A metric's name → its mean.
Means = Mapping[str, float]


@dataclass(frozen=True)
class FoldTried:
    """Weights of a fold, see `shardrank.core.folds.Fold`, and the means that retrieval has."""

    weights: Weights
    metrics: Means


@dataclass(frozen=True)
class FoldHeld:
    """What the other judgements say of a fold.

    Attributes:
        queries: that are judged.
        shared: of them those that the fold was chosen by, too.
        before, after: with the run's fold, and with the chosen one.
    """

    queries: int
    shared: int
    before: FoldTried
    after: FoldTried


@dataclass(frozen=True)
class FoldTuned:
    """A fold, chosen by what retrieval finds with it among the documents that the run folded.

    Attributes:
        metric: what it was chosen by.
        documents: that the run folded, among which it was chosen.
        before: the run's own fold, on the judgements to choose by.
        tried: the run's own and all others of the grid, on them.
        held: on the other judgements, if there are any.
    """

    metric: str
    documents: int
    before: FoldTried
    tried: tuple[FoldTried, ...]
    held: FoldHeld | None = None

    @property
    def best_first(self) -> list[FoldTried]:
        """By the metric; of equals first the run's own, then in the order of the grid."""
        return sorted(
            self.tried, key=lambda each: (-each.metrics[self.metric], each != self.before)
        )

    @property
    def best(self) -> FoldTried:
        """The first of them."""
        return self.best_first[0]

    @property
    def changed(self) -> bool:
        """Whether the best is not the run's own."""
        return self.best is not self.before

    def toml(self) -> list[str]:
        """What of [search] decides the fold, and what was gained."""
        lines = [f"# {self.metric} of retrieval: {self._gain(self.best)}, where it was chosen"]
        if held := self.held:
            before, after = (each.metrics[self.metric] for each in (held.before, held.after))
            lines.append(f"# on others: {before:.4f} → {after:.4f}")
        given = fold_set(self.best.weights)
        if given["fold"] != "max":
            given |= {"fold_documents": self.documents}
        return [*lines, "[search]", *(f"{n} = {json.dumps(v)}" for n, v in given.items())]

    def _gain(self, after: FoldTried) -> str:
        return f"{self.before.metrics[self.metric]:.4f} → {after.metrics[self.metric]:.4f}"
