"""rerank, of lists: a query's passages together, some queries a unit."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.cards import RerankerCard
from shardrank.core.files import FileRef
from shardrank.core.finite import Source, refuse_broken
from shardrank.core.pools import TASK_CPUS
from shardrank.core.progress import tell
from shardrank.core.protocols import ListReranker, ListScores
from shardrank.core.reranker_settings import ListSettings, RerankerSettings
from shardrank.core.tally import spend
from shardrank.core.units import Done, Stage, Unit
from shardrank.models.forward.threads import use_threads
from shardrank.models.rerankers.registry import load_reranker
from shardrank.stages.rank.list_texts import ListTexts, list_texts
from shardrank.stages.rank.rerank_plan import (
    BlockScores,
    Candidates,
    PlannedReranker,
    Scores,
    score_source,
)
from shardrank.stages.rank.votes import Votes, with_votes
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace


@dataclass(frozen=True)
class ListsSpec:
    """Queries of a block, the files of their lists, the fingerprint of the reranker's card, and
    what each retriever found, where the model is told."""

    block: int
    queries: FileRef
    lists: tuple[FileRef, ...]
    reranker: str
    votes: Votes | None = None


LISTS = Stage("rerank", ListsSpec, Scores)


def rerank_lists(
    context: Context, candidates: Candidates, reranker: PlannedReranker, stage: str
) -> list[Done[Scores]]:
    """The candidates' scores, a unit some queries of a block."""
    texts = list_texts(context, candidates, f"texts-{stage}")
    specs = _plan_lists(candidates, texts, reranker)
    pool = context.model_pool(len(specs))
    steps = [
        Step(partial(ReadLists, context.workspace, candidates.batch), cpus=TASK_CPUS),
        Step(partial(ScoreLists, reranker.settings, reranker.card, pool.device), pool),
        Step(partial(WriteLists, context.workspace), cpus=TASK_CPUS),
    ]
    return run_stage(context, replace(LISTS, name=stage), specs, steps)


def _plan_lists(
    candidates: Candidates, texts: Sequence[ListTexts], reranker: PlannedReranker
) -> list[ListsSpec]:
    """Of the files of lists, in the order of blocks and queries."""
    asked = reranker.settings
    told = isinstance(asked, ListSettings) and asked.votes
    return [
        ListsSpec(
            block=block,
            queries=candidates.blocks[block].queries,
            lists=tuple(each.texts for each in files),
            reranker=reranker.card.fingerprint,
            votes=candidates.blocks[block].votes if told else None,
        )
        for (block, _), files in groupby(texts, key=lambda each: (each.block, each.first))
    ]


def told(dones: Sequence[Done[Scores]]) -> Mapping[str, int]:
    """How often the model was asked in all, and what it did; nothing where pairs were scored."""
    every = sum((Counter(done.counts) for done in dones), Counter[str]())
    return {name: count for name, count in every.items() if name not in _OF_PAIRS}


#: Counts that units of either road have.
_OF_PAIRS = ("rows", "truncated", "not_finite")

#: What else may be the matter where there is no score.
UNREAD = (
    "Or it writes nothing that its prompt's answers are read from: name a prompt that it was made "
    "for, and give it reranker.reasoning_tokens if it reasons."
)


@dataclass(frozen=True)
class ReadLists:
    """Some queries → their passages in the order so far, and the queries."""

    workspace: Workspace
    batch: Workspace

    def __call__(self, unit: Unit[ListsSpec], tables: Tables) -> Tables:
        read = [self.workspace.read_table(ref) for ref in unit.spec.lists]
        lists = pa.concat_tables(read)
        # What was not retrieved has no rank, and stands behind all that was.
        found = pc.equal(lists["rank"], 0).cast(pa.int8())
        order = [(name, "ascending") for name in ("query", "none", "rank", "part", "row")]
        lists = lists.append_column("none", found).sort_by(order).drop_columns("none")
        if unit.spec.votes:
            lists = with_votes(self.batch, unit.spec.votes, lists)
        asked = self.batch.read_table(unit.spec.queries, ["text"])["text"]
        wanted = pc.unique(lists["query"])
        queries = pa.table({"query": wanted, "text": asked.take(wanted)})
        return {"lists": lists, "queries": queries}


class ScoreLists:
    """Queries and their passages → scores, and what became of them."""

    def __init__(self, settings: RerankerSettings, card: RerankerCard, device: str) -> None:
        self._source = score_source(card)
        use_threads(1)
        self._reranker = load_reranker(settings, device, card)

    def __call__(self, unit: Unit[ListsSpec], tables: Tables) -> Tables:
        lists = tables["lists"]
        scored = list(self._scored(tables["queries"], lists))
        scores = np.concatenate([each.scores for each in scored])
        cut = np.concatenate([each.truncated for each in scored])
        _refuse_broken(self._source, scored)
        spend("truncated", int(cut.sum()))
        kept = lists.select(["query", "part", "row"]).append_column("logit", pa.array(scores))
        counts = sum((Counter(each.counts) for each in scored), Counter[str]())
        return {
            "scores": kept.append_column("truncated", pa.array(cut)),
            "counts": pa.table({"name": list(counts), "count": list(counts.values())}),
            "answers": _answers(tables["queries"]["query"].to_pylist(), scored),
        }

    def _scored(self, queries: pa.Table, lists: pa.Table) -> Iterator[ListScores]:
        """Of each query."""
        texts = lists["text"].to_numpy()
        begins = np.flatnonzero(np.diff(lists["query"].to_numpy(), prepend=-1))
        for number, rows in enumerate(np.split(np.arange(len(texts)), begins[1:])):
            asked = queries["text"][number].as_py()
            yield once_each(self._reranker, asked, texts[rows].tolist())
            tell((number + 1) / len(begins))


def _refuse_broken(source: Source, scored: Sequence[ListScores]) -> None:
    """Raise InputError where a unit has no score. A query whose answers cannot be read loses all of
    its scores at once, so there it takes some queries until it is the model's fault."""
    broken = [int((~np.isfinite(each.scores)).sum()) for each in scored]
    if not any(each.counts.get("unparsed") for each in scored):
        refuse_broken(source, sum(broken), sum(len(e.scores) for e in scored), "pairs of a unit")
        return
    lost = sum(count == len(each.scores) for count, each in zip(broken, scored, strict=True))
    refuse_broken(source, lost, len(scored), "queries of a unit", hint=UNREAD)


def once_each(reranker: ListReranker, query: str, passages: Sequence[str]) -> ListScores:
    """What the reranker makes of the passages, where equal ones are judged once and score alike."""
    places = {text: place for place, text in enumerate(dict.fromkeys(passages))}
    found = reranker.rank(query, list(places))
    at = [places[text] for text in passages]
    return replace(found, scores=found.scores[at], truncated=found.truncated[at])


def _answers(queries: Sequence[int], scored: Sequence[ListScores]) -> pa.Table:
    """query, call (from 0) and answer."""
    rows = [
        (query, call, answer)
        for query, each in zip(queries, scored, strict=True)
        for call, answer in enumerate(each.answers)
    ]
    names = (("query", pa.int32()), ("call", pa.int32()), ("answer", pa.string()))
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table({n: pa.array(list(c), t) for (n, t), c in zip(names, columns, strict=True)})


@dataclass(frozen=True)
class WriteLists:
    """Scores → a file. A score that is not finite is counted, and its pair stays unreranked."""

    workspace: Workspace

    def __call__(self, unit: Unit[ListsSpec], tables: Tables) -> Result[Scores]:
        scores, block = tables["scores"], unit.spec.block
        ref = self.workspace.write_scratch(unit, f"scores-{block:05d}.parquet", scores)
        wrote = tables["answers"]
        answers = (
            self.workspace.write_scratch(unit, "answers.parquet", wrote) if len(wrote) else None
        )
        told = tables["counts"]
        counts = {
            "rows": scores.num_rows,
            "truncated": int(pc.sum(scores["truncated"]).as_py() or 0),
            "not_finite": int(pc.sum(pc.invert(pc.is_finite(scores["logit"]))).as_py() or 0),
            **dict(zip(told["name"].to_pylist(), told["count"].to_pylist(), strict=True)),
        }
        return Result(Scores((BlockScores(block, ref),), answers), counts)
