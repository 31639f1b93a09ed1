"""Settings of columns of several vectors of a passage: its own, and one of each text about it."""

from typing import Literal

from pydantic import Field

from shardrank.core.settings_base import NAME, SettingsTable, resize

#: As of other models; the tables of these stand in a file that reads this one.
ViewsDtype = Literal["auto", "fp32", "bf16", "fp16", "int8"]


class ViewsSettings(SettingsTable):
    """[[encoder]] with family = "views": a bi-encoder's vector of the passage, and one of each text
    that was written about it. A query is as near as the nearest of them."""

    family: Literal["views"] = Field(
        "views", description="a vector of the passage, and one of each text written about it"
    )
    name: str = Field("views", pattern=NAME, description="of its column, and the index over it")
    of: str = Field(
        "written",
        description="a column of family written, whose texts are read beside the passages",
    )
    model: str = Field("embedded", description="a folder, a hub name, or embedded")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    query_prompt: str | None = Field(None, description="put before queries; default: the model's")
    document_prompt: str | None = Field(None, description="put before texts; default: the model's")
    max_tokens: int | None = Field(
        None, ge=8, description="the longest input in tokens, special ones included"
    )
    dtype: ViewsDtype = Field(
        "auto",
        description="of the forward pass: fp32, bf16, fp16, or int8 (CPUs only); auto: the "
        "index's; for a new one bf16 where this machine multiplies it (for BERT's family and "
        "ModernBERT), else as the model's files",
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 1024 on a CPU, 65536 on a GPU", ge=1
    )
