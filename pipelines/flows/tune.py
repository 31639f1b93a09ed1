"""How retrievers are fused, how a document's passages are folded, and the weight of the reranker's
score: chosen on one set of judgements and measured on another.

OUT holds what each retriever found, the scores of passages where they are folded, and both scores
of every reranked document. So no model runs: the lists are fused or folded again, and the documents
ordered again, for each point of a grid.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.errors import InputError
from shardrank.core.evaluation import Coverage, Judgement, Metrics
from shardrank.core.folds import Fold
from shardrank.core.fusion_grid import fusion_grid
from shardrank.core.measured import evaluate
from shardrank.core.measures import measure
from shardrank.core.settings import Settings
from shardrank.corpus.qrels import read_judged
from shardrank.flows.judged_folds import JudgedFolds, judged_folds, tune_fold
from shardrank.flows.judged_lists import JudgedLists, listed_blocks
from shardrank.flows.tuned import Alone, FusionHeld, FusionTuned, Held, Tried, Tuned
from shardrank.flows.tuned_fold import Means
from shardrank.stages.rank.blend import reblended
from shardrank.stages.run.workspace import StoredTables, Workspace
from shardrank.stages.shared.ranked_runs import RankedRun, read_ranked
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


def tune_run(out: Workspace, ask: Ask, settings: Settings) -> Tuned:
    """Choose the fusion of OUT's retrievers, where there are several, else how it folds documents,
    where it does, and the weight of its reranker, where there is one; nothing in OUT changes.

    Raises:
        SettingsError: the metric is unknown.
        InputError: OUT holds no finished ranking, there was one retriever that folds nothing and no
            reranker, or no judgement is of a ranked query.
    """
    measure(ask.metric)
    ranked = _weighable(out)
    blocks = StoredTables(out, ranked.rankings)
    metrics = tuple(dict.fromkeys([*settings.evaluate.metrics, ask.metric]))
    same = settings.search.ignore_same_id or ranked.same_ids.ignored
    ways = Ways(metrics, same)
    chosen = _judged(blocks, ask.qrels, ways, settings)
    test = None if ask.test is None else _judged(blocks, ask.test, ways, settings)
    tuned = Tuned(ask.metric, chosen.retrieved(), coverage=chosen.coverage)
    tuned = replace(tuned, test_coverage=test.coverage) if test else tuned
    if len(ranked.retrievers) > 1:
        lists = _lists(out, ranked, chosen)
        tested = _lists(out, ranked, test) if test else None
        tuned = replace(tuned, fusion=_fused(ranked, lists, tested, ask.metric))
    if fold := _own_fold(ranked):
        folds = _folds(out, ranked, chosen)
        others = _folds(out, ranked, test) if test else None
        tuned = replace(tuned, fold=tune_fold(fold, folds, others, ask.metric))
    if ranked.reranker:
        tuned = _weighed(tuned, ranked.reranker.interpolation, chosen, test)
    return tuned


def _weighable(out: Workspace) -> RankedRun:
    """What OUT holds. Raises InputError where there is nothing to weigh."""
    ranked = read_ranked(out)
    if len(ranked.rerankers) > 1:
        raise InputError(
            f"{out.storage.root} was reranked by {len(ranked.rerankers)} models in turn, and a "
            "ranking holds the scores of the last one only.",
            "Tune each in a ranking that it reranks alone.",
        )
    if ranked.reranker or len(ranked.retrievers) > 1 or _own_fold(ranked):
        return ranked
    raise InputError(
        f"{out.storage.root} was ranked by one retriever and without a reranker, so there is "
        "nothing to weigh.",
        "Rank with a reranker (reranker.model), with several retrievers, or with search.fold and "
        "queries without parts.",
    )


def _own_fold(ranked: RankedRun) -> Fold | None:
    """That of a run of one retriever; not of one whose queries have parts, whose lists are merged
    behind the fold."""
    alone = len(ranked.retrievers) == 1 and not ranked.settings.parts
    return ranked.retrievers[0].fold if alone else None


@dataclass(frozen=True)
class Ways:
    """How rankings are measured: by which metrics, and whether with the query itself."""

    metrics: tuple[str, ...]
    ignore_same_id: bool


@dataclass(frozen=True)
class JudgedRankings:
    """The rankings of judged queries, the judgements, and how many queries are either."""

    tables: Sequence[pa.Table]
    judgements: Sequence[Judgement]
    coverage: Coverage
    ways: Ways

    @property
    def queries(self) -> set[str]:
        """That are judged."""
        return {judgement.query_id for judgement in self.judgements}

    def tried(self, interpolation: float) -> Tried:
        """The means that a weight gives; those of retrieval where no query has a logit."""
        found = self._means(reblended(table, interpolation) for table in self.tables)
        return Tried(interpolation, found.get("reranked", found["retrieved"]))

    def retrieved(self) -> Means:
        """The means of the order before reranking."""
        return self._means(iter(self.tables))["retrieved"]

    def _means(self, tables: Iterator[pa.Table]) -> Metrics:
        return evaluate(tables, self.judgements, self.ways.metrics, self.ways.ignore_same_id)


def _judged(blocks: StoredTables, qrels: str, ways: Ways, settings: Settings) -> JudgedRankings:
    """Reads the rankings once, and keeps those of judged queries."""
    names = [pc.unique(block["query_id"]) for block in blocks.only("query_id")]
    asked = [name for found in names for name in found.to_pylist()]
    judgements = read_judged(Sources(settings.s3).open, qrels, asked)
    queries = {judgement.query_id for judgement in judgements}
    coverage = Coverage(len(queries), len(asked), len(queries.intersection(asked)))
    wanted = pa.array(queries, pa.string())
    kept = (block.filter(pc.is_in(block["query_id"], wanted)) for block in blocks)
    tables = [table for table in kept if table.num_rows]
    return JudgedRankings(tables, judgements, coverage, ways)


def _lists(out: Workspace, ranked: RankedRun, judged: JudgedRankings) -> JudgedLists:
    blocks = listed_blocks(out, ranked.blocks, judged.judgements)
    k = ranked.settings.search.k
    ways = judged.ways
    return JudgedLists(blocks, judged.judgements, ways.metrics, k, ways.ignore_same_id)


def _folds(out: Workspace, ranked: RankedRun, judged: JudgedRankings) -> JudgedFolds:
    ways = judged.ways
    return judged_folds(out, ranked, judged.judgements, ways.metrics, ways.ignore_same_id)


def _fused(
    ranked: RankedRun, chosen: JudgedLists, test: JudgedLists | None, metric: str
) -> FusionTuned:
    """The fusion whose hits are best by `chosen`, and what `test` says of it."""
    grid = fusion_grid(ranked.settings.fusion, len(ranked.retrievers))
    tried = tuple(chosen.tried(fusion) for fusion in grid)
    fused = FusionTuned(metric, tried[0], tried, _alone(chosen, ranked))
    if ranked.reranker:
        both, depth = (grid[0], fused.best.fusion), ranked.settings.reranker[-1].depth
        fused = replace(fused, moved=chosen.moved(*both, depth))
    return replace(fused, held=_fusion_held(test, chosen, fused, ranked)) if test else fused


def _fusion_held(
    test: JudgedLists, chosen: JudgedLists, fused: FusionTuned, ranked: RankedRun
) -> FusionHeld:
    return FusionHeld(
        queries=len(test.queries),
        shared=len(test.queries & chosen.queries),
        before=test.tried(fused.before.fusion),
        after=test.tried(fused.best.fusion),
        alone=_alone(test, ranked),
    )


def _alone(lists: JudgedLists, ranked: RankedRun) -> tuple[Alone, ...]:
    return tuple(Alone(each.name, lists.alone(n)) for n, each in enumerate(ranked.retrievers))


def _weighed(
    tuned: Tuned, own: float, chosen: JudgedRankings, test: JudgedRankings | None
) -> Tuned:
    """With the weight of the reranker's score that is best by `chosen`, and what `test` says."""
    tried = tuple(chosen.tried(a) for a in sorted({*map(float, GRID), own}))
    before = next(each for each in tried if each.interpolation == own)
    tuned = replace(tuned, before=before, tried=tried)
    if test is None or tuned.best is None:
        return tuned
    held = Held(
        queries=len(test.queries),
        shared=len(test.queries & chosen.queries),
        before=test.tried(own),
        after=test.tried(tuned.best.interpolation),
        retrieved=test.retrieved(),
    )
    return replace(tuned, held=held)
