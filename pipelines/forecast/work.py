"""A corpus and a batch of queries as numbers: how many slices, parts, shards and blocks they make.

Every slice, part, shard and block counts as a full one, so a forecast errs to the long side.
"""

import math
from dataclasses import dataclass
from typing import Literal

from shardrank.core.reranker_settings import RerankerSettings
from shardrank.orders.calls import Asked, Lengths, Tokens, most_asked, most_tokens
from shardrank.version.codec_sizes import Sizes, estimate
from shardrank.version.sizing import (
    BYTES_PER_TOKEN,
    EXACT_SHARD_PASSAGES,
    CodecPlan,
    queries_at_once,
    query_bytes,
)

#: Stored bytes of a passage (text, tokens, ids) for each token: 1.9 to 3.1 in four indexes.
PASSAGE_BYTES_PER_TOKEN = 3.0


@dataclass(frozen=True)
class Model:
    """A transformer: the parameters that each token is multiplied with, and its dtype."""

    parameters: int
    dtype: str


@dataclass(frozen=True)
class Reranking:
    """A reranker.

    Attributes:
        settings: how it asks, and how deep.
        sees: "pairs", "lists" or "columns".
        model: what a token that is read is multiplied with.
        limit: tokens of an input, at most.
        weights: numbers that an actor holds.
        kept: numbers of the keys and values of a token that later ones attend to.
        terms: whose logits are made for a token that is written.
        dim: components of a token's vector in the column that is read.
    """

    settings: RerankerSettings
    sees: Literal["pairs", "lists", "columns"]
    model: Model
    limit: int
    weights: int
    kept: int = 0
    terms: int = 0
    dim: int = 0


@dataclass(frozen=True)
class Work:
    """A corpus to index, and a batch of queries to rank over it.

    Attributes:
        documents: that the passages are cut from.
        passage_tokens: of a passage, on average; likewise `query_tokens`.
        dim: components of a vector.
        component_bytes: of a stored vector: 2 for fp16, 4 for fp32.
        rerankers: in turn; none where nothing is reranked.
        index: from `plan_codec`.
        shard_passages: passages in a shard, at most.
        part_size: passages in a part.
        slice_bytes: source text in one unit of reading.
        audited: nearest documents that recall counts.
        audited_depth: most documents refined that the audit considers.
        questions: queries of the audit.
        k: documents kept for each query.
        nprobe: lists probed for each query in each shard.
        depth: documents refined for each query in each shard.
        block_queries: queries in one block of the batch.
        search_bytes: for the queries that an actor searches at once, and their hits.
    """

    passages: int
    documents: int
    queries: int
    passage_tokens: int
    query_tokens: int
    dim: int
    component_bytes: int
    encoder: Model
    rerankers: tuple[Reranking, ...]
    index: CodecPlan
    shard_passages: int
    part_size: int
    slice_bytes: int
    audited: int
    audited_depth: int
    questions: int
    k: int
    nprobe: int
    depth: int
    block_queries: int
    search_bytes: int

    @property
    def slice_passages(self) -> int:
        """Of a full slice of source text."""
        whole = int(self.slice_bytes / (self.passage_tokens * BYTES_PER_TOKEN))
        return min(self.passages, max(1, whole))

    @property
    def slices(self) -> int:
        return math.ceil(self.passages / self.slice_passages)

    @property
    def slice_text(self) -> float:
        """Bytes of a full slice."""
        return self.slice_passages * self.passage_tokens * BYTES_PER_TOKEN

    @property
    def slice_documents(self) -> float:
        return self.documents * self.slice_passages / self.passages

    @property
    def slice_parts(self) -> int:
        """A part never crosses slices."""
        return math.ceil(self.slice_passages / self.part_rows)

    @property
    def part_rows(self) -> int:
        """Passages of a full part."""
        return min(self.part_size, self.slice_passages)

    @property
    def parts(self) -> int:
        last = self.passages - (self.slices - 1) * self.slice_passages
        return (self.slices - 1) * self.slice_parts + math.ceil(last / self.part_rows)

    @property
    def shard_rows(self) -> int:
        """Passages of a full shard."""
        exact = max(EXACT_SHARD_PASSAGES, self.part_rows)
        return min(self.passages, exact if self.index.kind == "exact" else self.shard_passages)

    @property
    def shards(self) -> int:
        return math.ceil(self.passages / self.shard_rows)

    @property
    def shard_parts(self) -> int:
        return math.ceil(self.parts / self.shards)

    @property
    def candidates(self) -> float:
        """Hits of a query that are scored exactly in one shard; exact search scores a few more
        than it keeps."""
        if self.index.kind == "exact":
            return min(2 * self.k, self.shard_rows)
        return min(self.refined, self.shard_rows * self.nprobe / self.index.nlist)

    @property
    def blocks(self) -> int:
        return math.ceil(self.queries / self.block_queries)

    @property
    def block_rows(self) -> int:
        """Queries of a full block."""
        return min(self.queries, self.block_queries)

    @property
    def group_rows(self) -> int:
        """Queries that are searched at once: whole blocks."""
        some = queries_at_once(self.search_bytes, self.k, self.refined, self.dim)
        return min(self.queries, max(1, some // self.block_queries) * self.block_queries)

    @property
    def refined(self) -> int:
        """Hits refined for each query, of each document as many as it has passages on average;
        0: exact search."""
        passages = math.ceil(self.passages / self.documents)
        return 0 if self.index.kind == "exact" else self.depth * passages

    @property
    def group_bytes(self) -> int:
        """Memory of the queries that are searched at once, with their hits."""
        return self.group_rows * query_bytes(self.k, self.refined, self.dim)

    @property
    def groups(self) -> int:
        return math.ceil(self.queries / self.group_rows)

    def listed(self, each: Reranking) -> int:
        """Documents of a query that it reranks."""
        return min(each.settings.depth, self.k)

    def pairs(self, each: Reranking) -> int:
        """That it reranks, over all queries."""
        return self.queries * self.listed(each)

    def asked(self, each: Reranking) -> Asked:
        """What a query costs it, at most."""
        return most_asked(each.settings, self.listed(each))

    def tokens(self, each: Reranking) -> Tokens:
        """About how many it reads and writes for a query."""
        lengths = Lengths(self.query_tokens, self.passage_tokens, each.limit)
        return most_tokens(each.settings, self.listed(each), lengths)

    @property
    def row_bytes(self) -> float:
        """Stored bytes of a passage and its vector, which are read together."""
        return self.passage_bytes + self.dim * self.component_bytes

    @property
    def passage_bytes(self) -> float:
        return self.passage_tokens * PASSAGE_BYTES_PER_TOKEN

    @property
    def sizes(self) -> Sizes:
        """Of the index's files, and of the processes that make them."""
        return estimate(
            self.index, self.passages, self.dim, self.shard_passages, self.component_bytes
        )
