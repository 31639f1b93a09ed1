"""Settings of language models that write texts: about a query, or about a passage."""

from typing import Literal, Self

from pydantic import Field, model_validator

from shardrank.core.errors import SettingsError
from shardrank.core.settings_base import SettingsTable, resize


class WriterSettings(SettingsTable):
    """How a causal language model writes `count` texts about each input."""

    model: str = Field(min_length=1, description="a causal language model: a folder, or a hub name")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    prompt: str = Field(min_length=1, description="a prompt by its name, or a file (YAML)")
    count: int = Field(1, ge=1, description="texts about each input, at most")
    answer_tokens: int = Field(
        128, ge=1, description="tokens of an answer; one that is longer is cut, and counted"
    )
    temperature: float = Field(
        0.0, ge=0, description="what logits are divided by before one draws; 0: the likeliest token"
    )
    top_k: int | None = Field(
        None, ge=1, description="one draws among so many likeliest tokens; default: all"
    )
    seed: int = Field(0, ge=0, lt=1 << 63, description="of the draws, with the input's text")
    max_tokens: int | None = Field(
        None, ge=8, description="the longest prompt with its answer, in tokens; default: its own"
    )
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of the forward pass: fp32, bf16, fp16; auto: as the model's files"
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 2048 on a CPU, 16384 on a GPU", ge=1
    )

    @model_validator(mode="after")
    def _draws(self) -> Self:
        if self.temperature == 0 and self.top_k is not None:
            raise SettingsError(
                f"writer.top_k = {self.top_k}, but nothing is drawn: temperature = 0 takes the "
                "likeliest token.",
                "Set temperature, such as 1, or leave top_k out.",
            )
        return self
