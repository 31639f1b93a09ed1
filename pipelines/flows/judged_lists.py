"""What each retriever of a run found for judged queries, fused again in any way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.evaluation import Judgement
from shardrank.core.files import FileRef
from shardrank.core.fusion import fuse
from shardrank.core.measured import evaluate
from shardrank.core.rank_settings import FusionSettings
from shardrank.core.schemas import HITS
from shardrank.core.topk import ranks
from shardrank.flows.tuned import FusionTried
from shardrank.flows.tuned_fold import Means
from shardrank.stages.rank.blend import Retrieved, rankings
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.ranked_runs import RankedBlock, RankedRun


@dataclass(frozen=True)
class ListedBlock:
    """Judged queries of a block: their ids by number, and what each retriever found (HITS)."""

    query_ids: pa.ChunkedArray
    lists: Sequence[pa.Table]


@dataclass(frozen=True)
class JudgedLists:
    """What each retriever found for judged queries, the judgements, what is measured, and how many
    documents a ranking holds."""

    blocks: Sequence[ListedBlock]
    judgements: Sequence[Judgement]
    metrics: Sequence[str]
    k: int
    ignore_same_id: bool

    @property
    def queries(self) -> set[str]:
        """That are judged."""
        return {judgement.query_id for judgement in self.judgements}

    def tried(self, fusion: FusionSettings) -> FusionTried:
        """The means that a fusion gives."""
        return FusionTried(fusion, self.means(fuse(b.lists, fusion, self.k) for b in self.blocks))

    def alone(self, number: int) -> Means:
        """The means that a retriever gives alone."""
        lists = (block.lists[number] for block in self.blocks)
        return self.means(hits.filter(pa.array(ranks(hits) <= self.k)) for hits in lists)

    def moved(self, one: FusionSettings, other: FusionSettings, depth: int) -> int:
        """Queries of which the first `depth` documents are not the same ones."""
        first = min(depth, self.k)
        both = ([_found(b, fusion, first) for fusion in (one, other)] for b in self.blocks)
        return sum(len({query for query, _ in before ^ after}) for before, after in both)

    def means(self, found: Iterable[pa.Table]) -> Means:
        """Those of hits in the order of ranks, a table for each block."""
        both = zip(self.blocks, found, strict=True)
        tables = [_rankings(hits, block) for block, hits in both]
        if not any(table.num_rows for table in tables):  # as of a retriever that knows no word
            return dict.fromkeys(self.metrics, 0.0)
        return evaluate(tables, self.judgements, self.metrics, self.ignore_same_id)["retrieved"]


def alone(
    out: Workspace,
    ranked: RankedRun,
    judgements: Sequence[Judgement],
    metrics: Sequence[str],
    ignore_same_id: bool,
) -> dict[str, Means]:
    """What each retriever of a run gives alone, by its name; nothing where there is one."""
    if len(ranked.retrievers) < 2:
        return {}
    blocks = listed_blocks(out, ranked.blocks, judgements)
    lists = JudgedLists(blocks, judgements, metrics, ranked.settings.search.k, ignore_same_id)
    return {each.name: lists.alone(n) for n, each in enumerate(ranked.retrievers)}


def listed_blocks(
    out: Workspace, blocks: Iterable[RankedBlock], judgements: Sequence[Judgement]
) -> list[ListedBlock]:
    """Reads the lists of a run of several retrievers, and keeps those of judged queries."""
    return listed(out, ((block, block.lists) for block in blocks), judgements)


def listed(
    out: Workspace,
    blocks: Iterable[tuple[RankedBlock, Sequence[FileRef]]],
    judgements: Sequence[Judgement],
) -> list[ListedBlock]:
    """Reads files of hits, with further columns or not, of each block, and keeps those of judged
    queries."""
    names = pa.array({judgement.query_id for judgement in judgements}, pa.string())
    found = (_judged(out, block, files, names) for block, files in blocks)
    return [block for block in found if len(block.query_ids)]


def _judged(
    out: Workspace, block: RankedBlock, files: Sequence[FileRef], names: pa.Array
) -> ListedBlock:
    ids = out.read_table(block.queries, ["query_id"])["query_id"]
    numbers = pa.array(np.flatnonzero(pc.is_in(ids, names)), pa.int32())
    lists = [_of(out.read_table(ref), numbers) for ref in files]
    return ListedBlock(ids.take(numbers), lists)


def _of(hits: pa.Table, numbers: pa.Array) -> pa.Table:
    """The hits of some queries, which are numbered by their places among those."""
    kept = hits.filter(pc.is_in(hits["query"], numbers))
    places = pc.index_in(kept["query"], numbers)
    return kept.set_column(0, HITS.field("query"), places).combine_chunks()


def _rankings(hits: pa.Table, block: ListedBlock) -> pa.Table:
    """RANKINGS of hits that are not reranked."""
    logits = np.full(hits.num_rows, np.nan, np.float32)
    retrieved = Retrieved(ranks(hits), hits["score"].to_numpy())
    return rankings(hits, logits, 0.0, block.query_ids, retrieved)


def _found(block: ListedBlock, fusion: FusionSettings, k: int) -> set[tuple[int, str]]:
    """(query, document)"""
    hits = fuse(block.lists, fusion, k)
    return set(zip(hits["query"].to_pylist(), hits["doc_id"].to_pylist(), strict=True))
