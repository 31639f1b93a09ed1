"""Settings of columns that hold a vector for each document."""

from typing import Literal

from pydantic import Field

from shardrank.core.settings_base import NAME, SettingsTable


class DocumentSettings(SettingsTable):
    """[[encoder]] with family = "document": a column of vectors as one vector a document, the mean
    of its passages' vectors, which stands beside each of them (arXiv:2410.02729)."""

    family: Literal["document"] = Field("document", description="one vector a document")
    name: str = Field("document", pattern=NAME, description="of its column, and the index over it")
    of: str = Field("dense", description="the column of vectors that it is made of")
    weights: Literal["equal", "tokens"] = Field(
        "equal",
        description="what a passage counts in the mean: all alike, or by its tokens (without any: "
        "as one)",
    )
