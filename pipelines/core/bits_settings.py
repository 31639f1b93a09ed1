"""Settings of columns of binary codes."""

from typing import Literal

from pydantic import Field

from shardrank.core.settings_base import NAME, SettingsTable

Rotation = Literal["none", "random", "itq"]
Asked = Literal["vectors", "codes"]


class BitsSettings(SettingsTable):
    """[[encoder]] with family = "bits": a bit or two for each component of a dense column's
    vectors. Searched through all of them, and refined by the vectors themselves."""

    family: Literal["bits"] = Field("bits", description="binary codes of vectors")
    name: str = Field("bits", pattern=NAME, description="of its column, and the index over it")
    of: str = Field("dense", description="the column of vectors that it is made of")
    bits: int = Field(1, ge=1, le=2, description="for each component: 1 or 2")
    rotation: Rotation = Field(
        "itq",
        description="before components are cut to bits: none, random, or itq, which is learnt of a "
        "sample",
    )
    asked: Asked = Field(
        "vectors",
        description="what of a query is compared with codes: vectors, in 8 bits; or codes, which "
        "is faster and finds less",
    )
