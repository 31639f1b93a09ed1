"""The weight of the reranker's score, chosen on one set of judgements and measured on another.

A ranking holds both scores of every reranked document, so no model runs: each weight of a grid
orders the documents anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.errors import InputError, SettingsError
from shardrank.core.evaluation import MEASURES, Judgement, Metrics, evaluate
from shardrank.core.settings import Settings
from shardrank.corpus.qrels import read_judged
from shardrank.stages.rank.blend import reblended
from shardrank.stages.run.workspace import StoredTables, Workspace
from shardrank.stages.shared.ranked_runs import read_ranked
from shardrank.storage import Sources

#: Weights that are tried, of a in a·logit + (1-a)·retrieval score. Most are small, since logits are
#: of the size of 10 and cosines of 1.
GRID = (
    0,
    0.002,
    0.005,
    0.01,
    0.02,
    0.03,
    0.05,
    0.07,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1,
)


@dataclass(frozen=True)
class Ask:
    """What is tuned for: judgements to choose by, others to measure on, and the metric."""

    qrels: str
    test: str | None = None
    metric: str = "nDCG@10"


@dataclass(frozen=True)
class Tried:
    """A weight and the means that it gives on one set of judgements, by the metrics' names."""

    interpolation: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Held:
    """What the other judgements say.

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
    retrieved: Mapping[str, float]


@dataclass(frozen=True)
class Tuned:
    """What came of tuning.

    Attributes:
        metric: what it was chosen by.
        before: the run's own weight, on the judgements to choose by.
        tried: every weight of the grid and the run's own, in order, on them.
        retrieved: means without a reranker, on them.
        held: on the other judgements, if there are any.
    """

    metric: str
    before: Tried
    tried: tuple[Tried, ...]
    retrieved: Mapping[str, float]
    held: Held | None

    @property
    def best(self) -> Tried:
        """The highest metric; of equals the one nearest to the run's own."""

        def merit(tried: Tried) -> tuple[float, float]:
            far = abs(tried.interpolation - self.before.interpolation)
            return tried.metrics[self.metric], -far

        return max(self.tried, key=merit)

    def toml(self) -> str:
        """Settings with the chosen weight, and what it gained."""
        lines = [f"# {self.metric}: {self._gain(self.before, self.best)}, where it was chosen"]
        if self.held:
            lines.append(f"# on others: {self._gain(self.held.before, self.held.after)}")
        return "\n".join([*lines, "[reranker]", f"interpolation = {self.best.interpolation}", ""])

    def _gain(self, before: Tried, after: Tried) -> str:
        return f"{before.metrics[self.metric]:.4f} → {after.metrics[self.metric]:.4f}"


def tune_run(out: Workspace, ask: Ask, settings: Settings) -> Tuned:
    """Choose the weight of OUT's reranker; nothing in OUT changes.

    Raises:
        SettingsError: the metric is unknown.
        InputError: OUT holds no finished ranking, nothing was reranked, or no judgement is of a
            ranked query.
    """
    if ask.metric not in MEASURES:
        raise SettingsError(f"There is no metric {ask.metric!r}.", f"Use {', '.join(MEASURES)}.")
    ranked = read_ranked(out)
    if ranked.reranker is None:
        raise InputError(
            f"{out.storage.root} was ranked without a reranker, so there is nothing to weigh.",
            "Rank with one: reranker.model.",
        )
    if len(ranked.rerankers) > 1:
        raise InputError(
            f"{out.storage.root} was reranked by {len(ranked.rerankers)} models in turn, and a "
            "ranking holds the scores of the last one only.",
            "Tune each in a ranking that it reranks alone.",
        )
    blocks, own = StoredTables(out, ranked.rankings), ranked.reranker.interpolation
    chosen = _judged(blocks, ask.qrels, settings)
    tried = tuple(chosen.tried(a) for a in sorted({*map(float, GRID), own}))
    before = next(each for each in tried if each.interpolation == own)
    tuned = Tuned(ask.metric, before, tried, chosen.retrieved(), None)
    if ask.test is None:
        return tuned
    test = _judged(blocks, ask.test, settings)
    return replace(tuned, held=_held(test, chosen, own, tuned.best.interpolation))


@dataclass(frozen=True)
class JudgedRankings:
    """The rankings of judged queries, and the judgements."""

    tables: Sequence[pa.Table]
    judgements: Sequence[Judgement]
    ignore_same_id: bool

    @property
    def queries(self) -> set[str]:
        """That are judged."""
        return {judgement.query_id for judgement in self.judgements}

    def tried(self, interpolation: float) -> Tried:
        """The means that a weight gives; those of retrieval where no query has a logit."""
        found = self._means(reblended(table, interpolation) for table in self.tables)
        return Tried(interpolation, found.get("reranked", found["retrieved"]))

    def retrieved(self) -> Mapping[str, float]:
        """The means of the order before reranking."""
        return self._means(iter(self.tables))["retrieved"]

    def _means(self, tables: Iterator[pa.Table]) -> Metrics:
        return evaluate(tables, self.judgements, self.ignore_same_id)


def _judged(blocks: StoredTables, qrels: str, settings: Settings) -> JudgedRankings:
    """Reads the rankings once, and keeps those of judged queries."""
    names = [pc.unique(block["query_id"]) for block in blocks.only("query_id")]
    asked = [name for found in names for name in found.to_pylist()]
    judgements = read_judged(Sources(settings.s3).open, qrels, asked)
    wanted = pa.array({judgement.query_id for judgement in judgements}, pa.string())
    kept = (block.filter(pc.is_in(block["query_id"], wanted)) for block in blocks)
    tables = [table for table in kept if table.num_rows]
    return JudgedRankings(tables, judgements, settings.search.ignore_same_id)


def _held(test: JudgedRankings, chosen: JudgedRankings, own: float, best: float) -> Held:
    return Held(
        queries=len(test.queries),
        shared=len(test.queries & chosen.queries),
        before=test.tried(own),
        after=test.tried(best),
        retrieved=test.retrieved(),
    )
