"""What comes of tuning: a fusion of several retrievers or a fold of passages, and the weight of a
reranker's score."""

import json
from dataclasses import dataclass

from shardrank.core.evaluation import Coverage
from shardrank.core.fusion_grid import distance
from shardrank.core.rank_settings import FusionSettings
from shardrank.flows.tuned_fold import FoldTuned, Means


@dataclass(frozen=True)
class Tried:
    """A weight and the means that it gives on one set of judgements, by the metrics' names."""

    interpolation: float
    metrics: Means


@dataclass(frozen=True)
class Held:
    """What the other judgements say of a weight.

    Attributes:
        queries: that are judged.
        shared: of them those that the weight was chosen by, too.
        before, after: with the run's weight, and with the chosen one.
        retrieved: means without a reranker.
    """

    queries: int
    shared: int
    before: Tried
    after: Tried
    retrieved: Means


@dataclass(frozen=True)
class FusionTried:
    """A fusion, whose weights are given, and the means that retrieval has with it."""

    fusion: FusionSettings
    metrics: Means

    @property
    def several(self) -> bool:
        """Whether more than one retriever has a weight."""
        return sum(weight > 0 for weight in self.fusion.weights or ()) > 1


@dataclass(frozen=True)
class Alone:
    """A retriever by its name, and the means of what it finds alone."""

    retriever: str
    metrics: Means


@dataclass(frozen=True)
class FusionHeld:
    """What the other judgements say of a fusion.

    Attributes:
        queries: that are judged.
        shared: of them those that the fusion was chosen by, too.
        before, after: with the run's fusion, and with the chosen one.
        alone: with each retriever alone.
    """

    queries: int
    shared: int
    before: FusionTried
    after: FusionTried
    alone: tuple[Alone, ...]

    def single(self, retriever: str) -> Means:
        """What a retriever gives alone."""
        return next(alone.metrics for alone in self.alone if alone.retriever == retriever)


@dataclass(frozen=True)
class FusionTuned:
    """A fusion, chosen by what retrieval finds with it.

    Attributes:
        metric: what it was chosen by.
        before: the run's own fusion, on the judgements to choose by.
        tried: the run's own and all others of the grid, on them.
        alone: each retriever alone, on them, in the run's order.
        moved: queries judged to choose by of which other documents would be reranked with the best
            fusion; 0 where nothing was reranked.
        held: on the other judgements, if there are any.
    """

    metric: str
    before: FusionTried
    tried: tuple[FusionTried, ...]
    alone: tuple[Alone, ...]
    moved: int = 0
    held: FusionHeld | None = None

    @property
    def best_first(self) -> list[FusionTried]:
        """By the metric; of equals first the one nearest to the run's own: which fuses in the same
        way, then by the weights."""

        def place(tried: FusionTried) -> tuple[float, bool, float]:
            strange, far = distance(tried.fusion, self.before.fusion)
            return -tried.metrics[self.metric], strange, far

        return sorted(self.tried, key=place)

    @property
    def best(self) -> FusionTried:
        """The first of them."""
        return self.best_first[0]

    @property
    def changed(self) -> bool:
        """Whether the best is not the run's own."""
        return self.best is not self.before

    @property
    def single(self) -> Alone:
        """The retriever that is best alone."""
        return max(self.alone, key=lambda alone: alone.metrics[self.metric])

    @property
    def enough(self) -> bool:
        """Whether no fusion of several gives more than that one does alone."""
        fused = max(tried.metrics[self.metric] for tried in self.tried if tried.several)
        return self.single.metrics[self.metric] >= fused

    def toml(self) -> list[str]:
        """All of [fusion], so that nothing else decides it, and what was gained."""
        lines = [f"# {self.metric} of retrieval: {self._gain(self)}, where it was chosen"]
        if self.held:
            lines.append(f"# on others: {self._gain(self.held)}")
        # Texts, numbers and lists of numbers are written alike in JSON and TOML.
        fields = self.best.fusion.model_dump(mode="json").items()
        return [*lines, "[fusion]", *(f"{name} = {json.dumps(value)}" for name, value in fields)]

    def _gain(self, seen: "FusionTuned | FusionHeld") -> str:
        after = seen.after if isinstance(seen, FusionHeld) else seen.best
        return gain(self.metric, seen.before.metrics, after.metrics)


@dataclass(frozen=True)
class Tuned:
    """What came of tuning.

    Attributes:
        metric: what it was chosen by.
        retrieved: means without a reranker, on the judgements to choose by.
        before: the run's own weight, on them; None where nothing was reranked.
        tried: every weight of the grid and the run's own, in order, on them; empty there.
        held: of the weight, on the other judgements, if there are any.
        fusion: of several retrievers; None where there was one. The weights of the reranker were
            measured with the run's own fusion.
        fold: of a document's passages, likewise; None where one retriever folds none.
        coverage, test_coverage: how many of the queries are judged and ranked, by the judgements to
            choose by and by the other ones.
    """

    metric: str
    retrieved: Means
    before: Tried | None = None
    tried: tuple[Tried, ...] = ()
    held: Held | None = None
    fusion: FusionTuned | None = None
    fold: FoldTuned | None = None
    coverage: Coverage | None = None
    test_coverage: Coverage | None = None

    @property
    def best(self) -> Tried | None:
        """The highest metric; of equals the one nearest to the run's own; None where nothing was
        reranked."""
        before = self.before
        if before is None:
            return None

        def merit(tried: Tried) -> tuple[float, float]:
            return tried.metrics[self.metric], -abs(tried.interpolation - before.interpolation)

        return max(self.tried, key=merit)

    def toml(self) -> str:
        """Settings with what was chosen, and what it gained."""
        fusion = self.fusion.toml() if self.fusion else []
        fold = self.fold.toml() if self.fold else []
        return "\n".join([*fusion, *fold, *self._weight(), ""])

    @property
    def reordered(self) -> bool:
        """Whether the best fusion or fold is not the run's own, so that other documents would be
        reranked, by other retrieval scores."""
        return any(each.changed for each in (self.fusion, self.fold) if each)

    def _weight(self) -> list[str]:
        """[reranker], where something was reranked; not where another fusion or fold is better,
        whose scores want another weight."""
        before, best = self.before, self.best
        if before is None or best is None:
            return []
        if self.reordered:
            return ["# reranker.interpolation: rank with these settings, then tune again"]
        lines = [f"# {self.metric}: {self._gain(before, best)}, where it was chosen"]
        if self.held:
            lines.append(f"# on others: {self._gain(self.held.before, self.held.after)}")
        return [*lines, "[reranker]", f"interpolation = {best.interpolation}"]

    def _gain(self, before: Tried, after: Tried) -> str:
        return gain(self.metric, before.metrics, after.metrics)


def gain(metric: str, before: Means, after: Means) -> str:
    """From what to what."""
    return f"{before[metric]:.4f} → {after[metric]:.4f}"
