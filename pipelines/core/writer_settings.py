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

    @property
    def table(self) -> str:
        """What people call these settings by."""
        return "writer"

    @model_validator(mode="after")
    def _draws(self) -> Self:
        if self.temperature == 0 and self.top_k is not None:
            raise SettingsError(
                f"{self.table}.top_k = {self.top_k}, but nothing is drawn: temperature = 0 takes "
                "the likeliest token.",
                "Set temperature, such as 1, or top_k = none.",
            )
        return self


#: How often query2doc has a query's own words.
_REPEAT = 5

#: By the words of `makes`: the prompt, and how many texts, where the settings leave them out.
_USUAL = {"parts": ("query-parts", 4), "passages": ("answer-passage", 1)}


class QueryWriterSettings(WriterSettings):
    """[writer]: a language model that writes about each query before it is searched."""

    model: str = Field(
        "off", min_length=1, description="a causal language model: a folder, a hub name, or off"
    )
    prompt: str = Field(
        "",
        description="a prompt by its name, or a file (YAML); default: query-parts, or for passages "
        "answer-passage",
    )
    count: int = Field(
        0, ge=0, description="texts about each query, at most; 0: 4 parts, or 1 passage"
    )
    makes: Literal["parts", "passages"] = Field(
        "parts",
        description="parts of a query, searched beside it as those of search.parent are; or "
        "passages that might answer it, whose vectors are averaged with its own (HyDE), and whose "
        "words are added to it for words and terms (query2doc)",
    )
    repeat: int = Field(
        _REPEAT,
        ge=1,
        description="of passages: how often BM25 counts the query's own words beside them",
    )

    @model_validator(mode="after")
    def _repeats_beside_passages(self) -> Self:
        if self.makes == "parts" and self.repeat != _REPEAT:
            raise SettingsError(
                "writer.repeat is of passages, and writer.makes = parts.",
                "Set writer.makes = passages, or leave repeat out.",
            )
        return self

    @property
    def off(self) -> bool:
        """Whether nothing is written."""
        return self.model == "off"

    @property
    def whole(self) -> "QueryWriterSettings":
        """With the usual prompt and number of texts where they are left out."""
        prompt, count = _USUAL[self.makes]
        return self.model_copy(
            update={"prompt": self.prompt or prompt, "count": self.count or count}
        )
