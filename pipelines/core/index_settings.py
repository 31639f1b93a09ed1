"""Settings of an index: its shards, its audit, its gate, and when it is rewritten."""

from typing import Literal, Self

from pydantic import Field, model_validator

from shardrank.core.errors import SettingsError
from shardrank.core.settings_base import SettingsTable


class IndexSettings(SettingsTable):
    """[index]: the shards. Sizes left at none come from arithmetic: pipelines/version/sizing.py."""

    of: str = Field("dense", description="the column that it is over, by its encoder's name")
    kind: Literal["auto", "exact", "ivfpq", "ivfsq8", "ivfrabitq", "plaid", "none"] = Field(
        "auto",
        description="of vectors; auto: exact up to exact_below passages, else ivfpq; ivfsq8 keeps "
        "a byte for each component: larger, and finds as much with fewer lists; ivfrabitq keeps "
        "rabitq_bits for each and four bytes, and trains no codebooks; plaid: of token vectors "
        "stored as codes, by their centroids; none: the column is stored and not searched, which "
        "auto is of token vectors",
    )
    dim: int | None = Field(
        None,
        ge=1,
        description="the first components only are searched (Matryoshka), and what is found is "
        "scored by all; default: all; not of kind exact",
    )
    exact_below: int = Field(50_000, ge=0, description="passages up to which auto means exact")
    bytes_per_vector: int = Field(48, ge=1, description="budget of the PQ code in bytes")
    nlist: int | None = Field(None, ge=1, description="coarse centroids; default: by arithmetic")
    pq_m: int | None = Field(None, ge=1, description="sub-quantisers; default: by the byte budget")
    pq_bits: int = Field(8, ge=4, le=8, description="bits of one sub-quantiser's code")
    rabitq_bits: int = Field(1, ge=1, le=4, description="bits of a component with ivfrabitq")
    opq: bool | None = Field(None, description="rotate before PQ; default: where it helps")
    train_rows: int | None = Field(
        None, ge=1, description="training sample; default: by arithmetic"
    )
    shard_passages: int = Field(1_000_000, ge=1, description="passages in a shard, at most")
    seed: int = Field(0, ge=0, description="of the sample, the training and the audit")

    @model_validator(mode="after")
    def _whole_bytes(self) -> Self:
        if self.rabitq_bits == 3:
            raise SettingsError(
                "index.rabitq_bits = 3, which does not divide the 8 bits of a byte.",
                "Set it to 1, 2 or 4.",
            )
        return self


class AuditSettings(SettingsTable):
    """[audit]: what an index must show before it is published."""

    target: float = Field(0.95, ge=0, le=1, description="Recall@k against exact search")
    k: int = Field(100, ge=1, description="documents that recall counts: Recall@k")
    queries: int = Field(256, ge=1, description="held-out passages used as queries")
    query_file: str | None = Field(
        None,
        description="real queries, instead of held-out passages, for columns that a dense encoder "
        "makes of texts",
    )
    max_depth: int = Field(
        2000, ge=1, description="most documents refined, in a shard, that are considered"
    )

    @model_validator(mode="after")
    def _deep_enough(self) -> Self:
        # pydantic lets errors that are no ValueError through: message and hint stay ours.
        if self.max_depth < self.k:
            raise SettingsError(
                f"audit.max_depth = {self.max_depth} is below audit.k = {self.k}.",
                "A search must refine at least as many documents as recall counts.",
            )
        return self


class GateSettings(SettingsTable):
    """[gate]: how far a version may differ from the one before it."""

    max_deleted: float = Field(
        0.1, ge=0, le=1, description="share of the documents that a run may delete"
    )
    max_change: float = Field(
        0.5, ge=0, description="share by which the number of documents may change"
    )
    max_changed: float = Field(
        0.5, ge=0, description="share of the documents whose content may change"
    )
    max_rejected: float = Field(
        0.1, ge=0, le=1, description="share of the source's rows that may be rejected"
    )
    min_spread: float = Field(
        0.2,
        ge=0,
        le=1,
        description="least spread of new vectors' directions, as a share of the stored ones'",
    )
    reembed: bool = Field(
        False, description="allow another encoder or cut: everything is embedded again at once"
    )


class CompactSettings(SettingsTable):
    """[compact]: when an index run rewrites what is stored. Nothing is embedded for it.

    `shardrank compact` rewrites whatever lost a passage and folds all that is small.
    """

    max_deleted: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="at night a part with a larger share of deleted passages is rewritten",
    )
    fold: int = Field(
        8,
        ge=2,
        description="this many small parts or shards of like size are folded into one at night",
    )
    max_drift: float = Field(
        0.1, ge=0, description="growth of the codes' error at which the codec is trained again"
    )


class BackfillSettings(SettingsTable):
    """[backfill]: another encoder, and old documents that are embedded by it over several nights.

    Until then they are served through a map from the old vectors to the new ones.
    """

    share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="of the old documents, this share, in whole parts, is embedded by another "
        "encoder each night, and the others are served through a map; 0: none is; default: all at "
        "once, which gate.reembed must allow",
    )
    sample: int = Field(
        8192,
        ge=160,
        description="old passages that the map is learnt of: both encoders have seen them",
    )
    target: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Recall@10 through the map against vectors of the new encoder, among a quarter "
        "of the sample",
    )
