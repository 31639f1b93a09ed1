"""What reranking by part is asked for: its papers, its plan, and how deep was scored before."""

from collections.abc import Sequence
from dataclasses import dataclass

from shardrank.core.cards import RerankerCard
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import fingerprint
from shardrank.core.finite import Source
from shardrank.core.papers import from_json, to_json
from shardrank.core.reranker_settings import RerankerSettings
from shardrank.core.units import REVISION, Done, Stage
from shardrank.index.bm25 import Bm25
from shardrank.stages.rank.votes import Votes
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.pairs_by_part import (
    PairFile,
    PartPairs,
    count_pairs,
    files_of,
    group_parts,
)
from shardrank.version.indexes import TermCounts
from shardrank.version.manifest import StoredEncoder, Version


@dataclass(frozen=True)
class Counted:
    """What the words of a column that counts them are weighted by: of queries, and of passages."""

    counts: TermCounts
    rule: Bm25


@dataclass(frozen=True)
class PlannedReranker:
    """A reranker.

    Attributes:
        settings, card: how it is loaded, and as what.
        asking: what makes the queries' values of the column that it reads, from their texts; none:
            it reads no column.
        counted: how that column's words are weighted; none: it holds weights already.
    """

    settings: RerankerSettings
    card: RerankerCard
    asking: StoredEncoder | None = None
    counted: Counted | None = None


@dataclass(frozen=True)
class Candidates:
    """What is scored.

    Attributes:
        blocks: of queries, with their pairs.
        depth: pairs of each query that are scored, from the first.
        bucket_parts: parts whose pairs share a file.
        version: where the parts are listed.
        index: where they lie.
        batch: where the query files lie.
    """

    blocks: Sequence["BlockCandidates"]
    depth: int
    bucket_parts: int
    version: Version
    index: Workspace
    batch: Workspace


@dataclass(frozen=True)
class BlockCandidates:
    """A block's queries, and its pairs (query, part, row, rank) by the parts that they lie in; how
    many lie in each; and what each retriever found for the block."""

    queries: FileRef
    buckets: Sequence[PairFile]
    pairs: Sequence[PartPairs]
    votes: Votes


@dataclass(frozen=True)
class BlockPairs:
    """A block by its number: its queries (the batch's), and files that hold the pairs wanted."""

    block: int
    queries: FileRef
    pairs: tuple[FileRef, ...]


@dataclass(frozen=True)
class PartTexts:
    """A part, by its place in the version, and its passages."""

    ordinal: int
    passages: FileRef


@dataclass(frozen=True)
class RerankSpec:
    """A run of parts; the blocks that have pairs in them, of which those up to the depth are
    scored; the fingerprint of the reranker's card."""

    parts: tuple[PartTexts, ...]
    blocks: tuple[BlockPairs, ...]
    depth: int
    reranker: str
    stored_tokens: bool


@dataclass(frozen=True)
class BlockScores:
    """Scored pairs of a block: query, part, row, logit, truncated."""

    block: int
    scores: FileRef


@dataclass(frozen=True)
class Scores:
    """A file for each block that has pairs here; and of a model that writes, what it wrote where
    that is kept."""

    blocks: tuple[BlockScores, ...]
    answers: FileRef | None = None


RERANK = Stage("rerank", RerankSpec, Scores)


def score_source(card: RerankerCard) -> Source:
    """Whose scores these are, for what is said of scores that are not finite."""
    return Source("reranker", card.name, card.dtype, "score")


def plan_rerank(candidates: Candidates, card: RerankerCard) -> list[RerankSpec]:
    """Of each run of parts."""
    served = stored_tokens_serve(candidates.version, card)
    return [
        RerankSpec(run.parts, run.blocks, candidates.depth, card.fingerprint, served)
        for run in plan_part_runs(candidates)
    ]


@dataclass(frozen=True)
class PartRun:
    """Neighbouring parts, and the blocks that have pairs in them."""

    parts: tuple[PartTexts, ...]
    blocks: tuple[BlockPairs, ...]


def plan_part_runs(candidates: Candidates) -> list[PartRun]:
    """Runs of parts with enough pairs up to the depth, about."""
    parts = candidates.version.parts
    pairs = count_pairs(block.pairs for block in candidates.blocks)
    return [
        PartRun(
            tuple(PartTexts(n, parts[n].passages) for n in group), _blocks_in(candidates, group)
        )
        for group in group_parts(pairs, _scored_share(candidates, sum(pairs.values())))
    ]


def _scored_share(candidates: Candidates, pairs: int) -> float:
    """Of all pairs, about, those up to the depth: as if every query had equally many."""
    queries = sum(block.queries.rows for block in candidates.blocks)
    return min(1.0, candidates.depth * queries / max(1, pairs))


def _blocks_in(candidates: Candidates, group: Sequence[int]) -> tuple[BlockPairs, ...]:
    """The blocks that have pairs in these parts."""
    members = set(group)
    return tuple(
        BlockPairs(number, block.queries, files_of(block.buckets, group, candidates.bucket_parts))
        for number, block in enumerate(candidates.blocks)
        if any(each.part in members for each in block.pairs)
    )


def stored_tokens_serve(version: Version, card: RerankerCard) -> bool:
    """Whether the encoder's stored ids are those that the reranker would make of the text.

    They are not with another tokeniser, with a document prompt in them, where some were cut at the
    encoder's limit, or where an encoder before cut documents that are still served through a map.
    """
    encoder = version.dense.card
    same = card.tokeniser_fingerprint == encoder.tokeniser_fingerprint
    whole = not version.live.truncated and version.mapped is None
    return same and not encoder.document_prompt and whole


def scores_by_block(dones: Sequence[Done[Scores]], blocks: int) -> list[tuple[FileRef, ...]]:
    """Of each of so many blocks, the files of its scores."""
    found: list[list[FileRef]] = [[] for _ in range(blocks)]
    for each in (each for done in dones for each in done.made.blocks):
        found[each.block].append(each.scores)
    return [tuple(files) for files in found]


def answers_by_block(dones: Sequence[Done[Scores]], blocks: int) -> list[tuple[FileRef, ...]]:
    """Of each of so many blocks, the files of what a model wrote: query, call, answer."""
    found: list[list[FileRef]] = [[] for _ in range(blocks)]
    for made in (done.made for done in dones):
        if made.answers is not None:
            found[made.blocks[0].block].append(made.answers)
    return [tuple(files) for files in found]


@dataclass(frozen=True)
class Depths:
    """How deep pairs were scored before."""

    depths: tuple[int, ...]


@dataclass(frozen=True)
class ScoredBefore:
    """To which depths candidates were scored before, in a file named from them and the reranker."""

    workspace: Workspace
    key: str
    depths: tuple[int, ...]

    @classmethod
    def of(cls, workspace: Workspace, candidates: Candidates, card: RerankerCard) -> "ScoredBefore":
        files = [to_json(file) for block in candidates.blocks for file in block.buckets]
        key = f"depths/{fingerprint([REVISION, card.fingerprint, files])}.json"
        if not workspace.storage.exists(key):
            return cls(workspace, key, ())
        return cls(workspace, key, from_json(Depths, workspace.read_json(key)).depths)

    def depth(self, wanted: int) -> int:
        """The least that reaches as deep, else the one that is wanted."""
        return min((depth for depth in self.depths if depth >= wanted), default=wanted)

    def keep(self, depth: int) -> None:
        if depth not in self.depths:
            depths = Depths(tuple(sorted({*self.depths, depth})))
            self.workspace.write_json(self.key, to_json(depths))
