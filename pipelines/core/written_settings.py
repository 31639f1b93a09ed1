"""Settings of columns of texts that a language model writes about passages."""

from typing import Literal

from pydantic import Field

from shardrank.core.settings_base import NAME
from shardrank.core.writer_settings import WriterSettings


class WrittenSettings(WriterSettings):
    """[[encoder]] with family = "written": texts that a causal language model writes about each
    passage, such as questions that it answers. Other encoders read them by of."""

    family: Literal["written"] = Field(
        "written", description="texts that a language model writes about passages"
    )
    name: str = Field("written", pattern=NAME, description="of its column")
    prompt: str = Field(
        "passage-questions", min_length=1, description="a prompt by its name, or a file (YAML)"
    )
    count: int = Field(5, ge=1, description="texts about each passage, at most")
    filter_model: str | None = Field(
        None,
        min_length=1,
        description="a bi-encoder (a folder, a hub name, or embedded), in fp32: a text is kept "
        "where it finds its passage among others; default: all texts are kept",
    )
    filter_passages: int = Field(
        1000, ge=1, description="others that a passage is ranked among, drawn from the index once"
    )
    keep_rank: int = Field(
        10, ge=1, description="a text is kept where its passage is among the first so many"
    )

    @property
    def table(self) -> str:
        """See `WriterSettings`."""
        return f"encoder.{self.name}"
