"""Settings of columns of a cross-encoder's scores with anchor queries."""

from typing import Literal

from pydantic import Field

from shardrank.core.settings_base import NAME, SettingsTable, resize

#: As of other models; the tables of these stand in a file that reads this one.
AnchorDtype = Literal["auto", "fp32", "bf16", "fp16", "int8"]


class AnchorSettings(SettingsTable):
    """[[encoder]] with family = "anchors": a cross-encoder as an index. A passage's vector is its
    scores with anchor queries (ANNCUR)."""

    family: Literal["anchors"] = Field(
        "anchors", description="a cross-encoder's scores with anchor queries"
    )
    name: str = Field("anchors", pattern=NAME, description="of its column, and the index over it")
    model: str = Field("embedded", description="a cross-encoder: a folder, a hub name, or embedded")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    queries: str | None = Field(
        None,
        description="a file of queries on this machine, as those of rank, of which the anchor "
        "queries are drawn; default: the first words of passages are",
    )
    anchor_queries: int = Field(
        256, ge=2, le=8192, description="anchor queries: components of a passage's vector"
    )
    anchor_passages: int = Field(
        256, ge=2, le=8192, description="passages that a query is scored with, drawn from the index"
    )
    max_tokens: int | None = Field(None, ge=8, description="the longest pair in tokens")
    dtype: AnchorDtype = Field(
        "auto",
        description="of the forward pass: fp32, bf16, fp16, or int8 (CPUs only); auto: as the "
        "model's files",
    )
    stored: Literal["fp16", "fp32"] = Field("fp16", description="type of the stored scores")
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 1024 on a CPU, 65536 on a GPU", ge=1
    )
