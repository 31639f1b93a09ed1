"""Settings of columns that hold one learnt vector for all token vectors of a passage."""

from typing import Literal

from pydantic import Field

from shardrank.core.settings_base import NAME, SettingsTable


class LearnedSettings(SettingsTable):
    """[[encoder]] with family = "learned": a column of token vectors as one vector a passage, whose
    inner product with a query's is about the sum of its tokens' largest products, as a small
    network learns it of the index's own token vectors."""

    family: Literal["learned"] = Field("learned", description="one learnt vector for many")
    name: str = Field("learned", pattern=NAME, description="of its column, and the index over it")
    of: str = Field("late", description="the column of token vectors that it is made of")
    dim: int = Field(
        1024, ge=8, le=16_384, description="components of a vector; the last is a bias"
    )
    tokens: int = Field(
        8192, ge=64, description="token vectors by which a passage's vector is fitted"
    )
    passages: int = Field(
        512, ge=2, description="passages whose largest products the network learns to foretell"
    )
    steps: int = Field(500, ge=1, description="of training, of 512 tokens each")
    seed: int = Field(0, ge=0, description="of the training")
