"""Settings of columns that hold one vector for all token vectors of a passage."""

from typing import Literal

from pydantic import Field

from shardrank.core.settings_base import NAME, SettingsTable


class MuveraSettings(SettingsTable):
    """[[encoder]] with family = "muvera": a column of token vectors as one vector a passage, whose
    inner product with a query's is about the sum of its tokens' largest products (MUVERA)."""

    family: Literal["muvera"] = Field("muvera", description="one vector for many")
    name: str = Field("muvera", pattern=NAME, description="of its column, and the index over it")
    of: str = Field("late", description="the column of token vectors that it is made of")
    planes: int = Field(
        4, ge=0, le=8, description="a space is cut by so many planes, 2 to so many cells"
    )
    repetitions: int = Field(20, ge=1, le=256, description="spaces, each cut by other planes")
    inner: int | None = Field(
        8, ge=1, description="components that a cell's vector is projected to; none: all are kept"
    )
    dim: int | None = Field(
        None, ge=1, description="components in the end, by a second projection; default: all"
    )
    seed: int = Field(0, ge=0, description="of the planes and the projections")
