"""Settings of a ranking: the batch, its retrievers, and how their hits become one list."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from shardrank.core.errors import SettingsError
from shardrank.core.settings_base import NAME, SettingsTable, resize

PartsBy = Literal["rrf", "max"]


class SearchSettings(SettingsTable):
    """[search]: retrieval of a query batch."""

    k: int = Field(100, ge=1, description="documents kept for each query")
    nprobe: int | None = Field(None, ge=1, description="lists probed; default: as audited")
    depth: int | None = Field(
        None,
        ge=1,
        description="documents refined in each shard, by their nearest passages, k at least; "
        "default: as audited",
    )
    block_queries: int = Field(
        4096, ge=1, le=1 << 20, description="queries in one block of the batch"
    )
    ignore_same_id: bool = Field(
        False,
        description="BEIR's rule: a document with the query's own id is passed over, as where "
        "queries are documents (ArguAna, Quora)",
    )
    parent: str | None = Field(
        None,
        min_length=1,
        description="of a file of queries, the column that holds the id of the query of which a "
        "row is a part: what parts find is merged into that query's list, and reranked by its "
        "text; default: no query is a part",
    )
    parts: PartsBy = Field(
        "rrf",
        description="how a query's list and those of its parts become one, of each retriever: by "
        "reciprocal ranks, or by a document's largest score",
    )
    exclude: str | None = Field(
        None,
        min_length=1,
        description="of a file of queries, the column that lists ids of documents that are no hits "
        "of a query, as BRIGHT has excluded_ids; k others remain; default: none are left out",
    )
    device: Literal["auto", "cpu", "gpu"] = resize(
        "cpu",
        "where shards of vectors are searched; auto: on a GPU where actors have one, see "
        "cluster.gpu; what is found is the same",
    )
    memory_mb: int = resize(
        1024, "memory of an actor for the queries that it searches at once, and their hits", ge=1
    )


class RetrieverSettings(SettingsTable):
    """[[retriever]]: an index that is searched. Where none is named, every index is, as [search]
    says."""

    index: str = Field("dense", description="the index, by its column's name")
    name: str | None = Field(None, pattern=NAME, description="default: the index's")
    k: int | None = Field(None, ge=1, description="documents for each query; default: search.k")
    nprobe: int | None = Field(
        None, ge=1, description="lists probed, of vectors; default: search.nprobe"
    )
    depth: int | None = Field(
        None, ge=1, description="documents refined in each shard, of vectors; default: search.depth"
    )
    k1: float = Field(1.5, ge=0, description="of BM25: how soon a word that recurs is enough")
    b: float = Field(0.75, ge=0, le=1, description="of BM25: how much long passages are lowered")
    feedback: int | None = Field(
        None,
        ge=1,
        description="documents of a first round towards which the query is moved for the second: "
        "Rocchio's formula for vectors, RM3's for words and terms; default: one round",
    )
    alpha: float | None = Field(
        None, ge=0, description="of feedback: the query's weight; default: 0.9, of terms 0.5"
    )
    beta: float | None = Field(
        None, ge=0, description="of feedback: the documents' weight; default: 0.1, of terms 0.5"
    )
    feedback_terms: int = Field(
        10, ge=1, description="of feedback: terms of the documents that are added, at most"
    )
    query_pool: float = Field(
        1.0,
        ge=1,
        description="of token vectors: a query keeps one for so many tokens, the sum of those that "
        "are alike; 1: all",
    )
    guide: str | None = Field(
        None,
        description="of vectors: another retriever, until whose scores are met the query is moved "
        "before it is asked again (guided query refinement); default: none",
    )
    guide_documents: int = Field(
        50, ge=1, description="of a guide: first documents of either list that are compared"
    )
    guide_weight: float = Field(
        0.5, ge=0, le=1, description="of a guide: its share in what the scores shall be"
    )
    guide_steps: int = Field(25, ge=1, le=10_000, description="of a guide: steps of descent")
    guide_rate: float = Field(0.01, gt=0, description="of a guide: how far a step goes")
    guide_temperature: float = Field(
        0.1, gt=0, description="of a guide: by which scores are divided before the softmax"
    )
    hubness: float | None = Field(
        None,
        gt=0,
        description="of vectors: beta of the inverted softmax, by which passages that are near to "
        "every query of the batch are lowered, such as 20; default: none are",
    )
    gallery: int = Field(
        0, ge=0, description="of hubness: passages in a second bank, drawn from the index"
    )

    @property
    def called(self) -> str:
        """Its name."""
        return self.name or self.index


class FusionSettings(SettingsTable):
    """[fusion]: several retrievers' hits become one list."""

    how: Literal["rrf", "scores"] = Field(
        "rrf", description="by reciprocal rank fusion, or by the sum of their normalised scores"
    )
    rank_constant: int = Field(
        60, ge=0, description="c of rrf, the sum of 1 / (c + rank): the larger, the flatter"
    )
    norm: Literal["min-max", "z"] = Field(
        "min-max",
        description="how scores are put on one scale, in each list of a query: from 0 to 1, or by "
        "mean and standard deviation",
    )
    weights: tuple[float, ...] | None = Field(
        None, min_length=1, description="one for each retriever, in order; default: all 1"
    )

    @field_validator("weights", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """--set fusion.weights=1,0.5"""
        return tuple(value.split(",")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _weigh(self) -> Self:
        # Sums of weighted terms are stored as float32: beyond these bounds they become inf or 0.
        if self.weights and not (min(self.weights) >= 0 and 1e-6 <= max(self.weights) <= 1e6):
            raise SettingsError(
                f"fusion.weights = {list(self.weights)}: none may be negative, and the largest "
                "must lie between 1e-6 and 1e6.",
                "Weights count relative to each other: 2, 1 does what 0.2, 0.1 does.",
            )
        return self
