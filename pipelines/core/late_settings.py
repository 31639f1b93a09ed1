"""Settings of encoders of a vector for each token."""

from typing import Literal

from pydantic import Field

from shardrank.core.settings_base import NAME, SettingsTable, resize

LateDtype = Literal["auto", "fp32", "bf16", "fp16", "int8"]
#: How a token's vector is stored: its components, or bits of each of them beside a centroid.
StoredTokens = Literal["fp16", "4", "2", "1"]


class LateSettings(SettingsTable):
    """[[encoder]] with family = "late": a vector for each token (late interaction), such as
    ColBERT. Fields left at "auto" or none come from the model's own files."""

    family: Literal["late"] = Field("late", description="a vector for each token")
    name: str = Field("late", pattern=NAME, description="of its column, and the index over it")
    model: str = Field(min_length=1, description="a folder, or a hub name")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    query_prompt: str | None = Field(
        None, description="put before queries, behind the model's mark; default: the model's"
    )
    document_prompt: str | None = Field(
        None, description="put before texts, behind the model's mark; default: the model's"
    )
    document_tokens: int | None = Field(
        None, ge=8, description="the longest text in tokens, special ones included"
    )
    query_tokens: int | None = Field(
        None,
        ge=8,
        description="the longest query, likewise; where the model fills queries up, up to where",
    )
    pool: float | None = Field(
        None,
        ge=1,
        description="a passage keeps one vector for so many tokens: means of those that are alike; "
        "default: the model's, else 1",
    )
    stored: StoredTokens = Field(
        "fp16",
        description="a token's vector: fp16, or the number of its centroid and so many bits for "
        "each component of what is left",
    )
    centroids: int | None = Field(
        None,
        ge=1,
        le=1 << 20,
        description="of stored = 4, 2 or 1; default: a power of two near 16 · the root of the "
        "sampled tokens",
    )
    dtype: LateDtype = Field(
        "auto",
        description="of the forward pass: fp32, bf16, fp16, or int8 (CPUs only); auto: the "
        "index's; for a new column bf16 where this machine multiplies it (for BERT's family and "
        "ModernBERT), else as the model's files",
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 1024 on a CPU, 65536 on a GPU", ge=1
    )
