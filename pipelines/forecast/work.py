"""A corpus and a batch of queries as numbers: how many slices, parts, shards and blocks they make.

Every slice, part, shard and block counts as a full one, so a forecast errs to the long side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shardrank.core.model_settings import DENSE
from shardrank.core.reranker_settings import RerankerSettings
from shardrank.forecast.columns import Column
from shardrank.forecast.model import Model
from shardrank.orders.calls import PROMPT_TOKENS, Asked, Lengths, Tokens, most_asked, most_tokens
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

#: Bytes of a document's key in a part, which is read with its vectors (MedQuAD: 36.8).
KEY_BYTES = 37

#: Kinds of indexes that compare a query with every passage's values.
EXHAUSTIVE = ("exact", "maxsim")


@dataclass(frozen=True)
class FirstRound:
    """A round of a retriever's own whose documents move the queries for the second.

    Attributes:
        documents: that it gives each query.
        guide: the retriever whose first documents, as many, are compared with these; "": none is.
        steps: of the descent towards the guide's scores.
    """

    documents: int
    guide: str = ""
    steps: int = 0


@dataclass(frozen=True)
class Searching:
    """What a retriever searches: a column, and how hard.

    Attributes:
        column: by its name.
        k: documents that it gives each query.
        nprobe: lists probed for each query in each shard; 0: the kind has none.
        depth: documents refined for each query in each shard.
        name: the retriever's; "": the column's.
        first: the round before; none: there is one round.
    """

    column: str
    k: int
    nprobe: int
    depth: int
    name: str = ""
    first: FirstRound | None = None

    @property
    def called(self) -> str:
        """The retriever's name."""
        return self.name or self.column

    def of(self, stage: str) -> str:
        """The name of its stage of such a kind, as `Stage.of` has it."""
        return stage if self.called == DENSE else f"{stage}-{self.called}"


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
        reads: the column that is seen; "": none is.
        prompt: tokens of its prompt beside query and passages.
        writes: whether its answer is written, where the family writes one.
    """

    settings: RerankerSettings
    sees: Literal["pairs", "lists", "columns"]
    model: Model
    limit: int
    weights: int
    kept: int = 0
    terms: int = 0
    reads: str = ""
    prompt: int = PROMPT_TOKENS
    writes: bool = True


@dataclass(frozen=True)
class Work:
    """A corpus to index, and a batch of queries to rank over it.

    Attributes:
        documents: that the passages are cut from.
        queries: that are ranked; `query_parts` are parts of these, which are searched beside them.
        passage_tokens: of a passage, on average; likewise `query_tokens`.
        dim: components of a vector; of a query's, of all its token vectors.
        value_bytes: of a passage's vector as it is stored.
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
        columns: beside the first, in the order in which they are made.
        searches: what is searched; none: the first column alone.
    """

    passages: int
    documents: int
    queries: int
    passage_tokens: int
    query_tokens: int
    dim: int
    value_bytes: float
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
    columns: tuple[Column, ...] = ()
    searches: tuple[Searching, ...] = ()
    query_parts: int = 0

    @property
    def asking(self) -> "Work":
        """The same with parts of queries as queries: as all are encoded and searched."""
        return replace(self, queries=self.queries + self.query_parts, query_parts=0)

    @property
    def searched(self) -> Sequence[Searching]:
        """All that is searched."""
        return self.searches or (Searching(DENSE, self.k, self.nprobe, self.depth),)

    def column(self, name: str) -> Column:
        """The one of that name, beside the first."""
        return next(each for each in self.columns if each.name == name)

    def over(self, column: Column, search: Searching | None = None) -> "Work":
        """The same with a further column in the first one's place, as an index over it is built,
        audited and searched: of codes, the vectors that they are of are read beside them."""
        assert column.plan is not None
        takes, coded = column.takes, column.plan.kind == "binary"
        return replace(
            self,
            dim=int(takes.asked * takes.dim),
            value_bytes=takes.bytes + (self.values_of(column.of) if coded else 0.0),
            index=column.plan,
            shard_passages=column.shard_passages,
            k=search.k if search else self.k,
            nprobe=search.nprobe if search else self.nprobe,
            depth=search.depth if search else self.depth,
        )

    def over_searched(self, search: Searching) -> "Work":
        """The same with the column that a retriever searches in the first one's place."""
        if search.column != DENSE:
            return self.over(self.column(search.column), search)
        return replace(self, k=search.k, nprobe=search.nprobe, depth=search.depth)

    def values_of(self, name: str) -> float:
        """Bytes of a passage's value in a column."""
        return self.value_bytes if name == DENSE else self.column(name).takes.bytes

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
        whole = self.index.kind in EXHAUSTIVE
        return min(self.passages, exact if whole else self.shard_passages)

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
        if not self.refined:
            return min(2 * self.k, self.shard_rows)
        if self.index.kind in ("binary", "plaid"):
            return min(self.refined, self.shard_rows)
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
        0: no codes are searched."""
        coded = self.index.kind not in (*EXHAUSTIVE, "inverted")
        return self.depth * self.document_passages if coded else 0

    @property
    def document_passages(self) -> int:
        """Of a document, on average."""
        return math.ceil(self.passages / self.documents)

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
        lengths = Lengths(
            self.query_tokens, self.passage_tokens, each.limit, each.prompt, each.writes
        )
        return most_tokens(each.settings, self.listed(each), lengths)

    @property
    def row_bytes(self) -> float:
        """Stored bytes of a passage and its vector, which embedding reads and writes."""
        return self.passage_bytes + self.value_bytes

    @property
    def vector_row_bytes(self) -> float:
        """Stored bytes of a passage's key and its vector, which are read together."""
        return self.value_bytes + KEY_BYTES * self.documents / self.passages

    @property
    def passage_bytes(self) -> float:
        return self.passage_tokens * PASSAGE_BYTES_PER_TOKEN

    @property
    def sizes(self) -> Sizes:
        """Of the index's files, and of the processes that make them."""
        return estimate(self.index, self.passages, self.dim, self.shard_passages)
