"""Settings of rerankers: what all have, and what each family has besides."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from shardrank.core.model_settings import DTYPE_SAYS, Dtype
from shardrank.core.settings_base import SettingsTable, resize


class RerankerSettings(SettingsTable):
    """What every reranker has. Several [[reranker]] rerank one after another, each what the one
    before put first."""

    family: str
    model: str = Field("embedded", description="a folder, a hub name, embedded, or off")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    depth: int = Field(50, ge=1, description="documents of each query that are reranked")
    interpolation: float | None = Field(
        None,
        ge=0,
        le=1,
        description="a in a·score + (1-a)·retrieval score; default: as the model says, else 1",
    )
    max_tokens: int | None = Field(
        None, ge=8, description="the longest input in tokens: a pair, or a whole prompt"
    )
    dtype: Dtype = Field(
        "auto",
        description=f"{DTYPE_SAYS}; auto: bf16 where the index's encoder runs in it (for BERT's "
        "family), else as the model's files",
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 1024 on a CPU, 65536 on a GPU", ge=1
    )


class CrossSettings(RerankerSettings):
    """[reranker]: a cross-encoder."""

    family: Literal["cross"] = Field("cross", description="a classifier of pairs")


class LanguageSettings(RerankerSettings):
    """What every reranker has that is a language model."""

    model: str = Field(min_length=1, description="a folder, or a hub name")
    prompt: str | None = Field(
        None,
        description="a prompt by its name, or a file (YAML); default: the model's own, else the "
        "family's",
    )


class PointwiseSettings(LanguageSettings):
    """[[reranker]] of family pointwise: a language model that is asked about one passage at a
    time."""

    family: Literal["pointwise"] = Field("pointwise", description="a score of each passage")
    instruction: str | None = Field(
        None, description="what a passage shall do for its query; default: the prompt's"
    )


class ListedSettings(LanguageSettings):
    """What every reranker has that shows a language model several passages in one prompt."""

    passage_tokens: int = Field(
        300, ge=8, description="tokens of a passage that the model sees, at most"
    )
    reasoning_tokens: int = Field(
        0, ge=0, description="tokens that the model may write before its answer; 0: no reasoning"
    )
    keep_answers: bool = resize(False, "whether what the model wrote is kept")


class ListwiseSettings(ListedSettings):
    """[[reranker]] of family listwise: a language model that puts a window of passages in order."""

    family: Literal["listwise"] = Field("listwise", description="an order of several passages")
    answer: Literal["logits", "generated"] = Field(
        "logits",
        description="an order by the logits of the passages' identifiers as the answer's first "
        "token (FIRST), or as the model writes it",
    )
    window: int = Field(20, ge=2, description="passages in one prompt; from depth on: all at once")
    stride: int = Field(10, ge=1, description="places from a window to the next, at most window")
    passes: int = Field(1, ge=1, description="how often the windows go through the list")


class SetwiseSettings(ListedSettings):
    """[[reranker]] of family setwise: a language model that names the best of a few passages."""

    family: Literal["setwise"] = Field("setwise", description="the best of a few, by a sort")
    answer: Literal["logits", "generated"] = Field(
        "logits",
        description="the best by the logits of the passages' identifiers, or as the model writes "
        "it",
    )
    sort: Literal["heapsort", "bubblesort"] = Field(
        "heapsort", description="the sort that asks for the best of a set"
    )
    children: int = Field(3, ge=1, description="passages that one is compared with at a time")
    top: int = Field(
        10, ge=1, description="documents that are put in order; the others follow as they were"
    )


class GroupwiseSettings(ListedSettings):
    """[[reranker]] of family groupwise: a language model that grades each passage of a group."""

    family: Literal["groupwise"] = Field("groupwise", description="a grade of each of a group")
    group: int = Field(10, ge=1, description="passages of a group, at most")
    passes: int = Field(
        2, ge=1, description="how often each is graded, in other groups; the mean counts"
    )


def _family(given: Any) -> Any:
    """Of a table or its settings: cross where it is not said."""
    if isinstance(given, Mapping):
        return given.get("family", "cross")
    return getattr(given, "family", None)


#: A table that says how a reranker scores.
AnyReranker = Annotated[
    Annotated[CrossSettings, Tag("cross")]
    | Annotated[PointwiseSettings, Tag("pointwise")]
    | Annotated[ListwiseSettings, Tag("listwise")]
    | Annotated[SetwiseSettings, Tag("setwise")]
    | Annotated[GroupwiseSettings, Tag("groupwise")],
    Discriminator(_family),
]
