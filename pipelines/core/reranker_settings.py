"""Settings of rerankers: what all have, and what each family has besides."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from shardrank.core.errors import SettingsError
from shardrank.core.model_settings import DTYPE_SAYS, Dtype, Pooling
from shardrank.core.settings_base import SettingsTable, resize


class RerankerSettings(SettingsTable):
    """What every reranker has. Several [[reranker]] rerank one after another, each what the one
    before put first."""

    family: str
    depth: int = Field(50, ge=1, description="documents of each query that are reranked")
    interpolation: float | None = Field(
        None,
        ge=0,
        le=1,
        description="a in a·score + (1-a)·retrieval score; default: as the model says, else 1",
    )

    @property
    def called(self) -> str:
        """As labels name a teacher."""
        raise NotImplementedError

    @property
    def off(self) -> bool:
        """Whether it stands for no reranker."""
        return False


class ModelSettings(RerankerSettings):
    """What every reranker has that is a model."""

    model: str = Field("embedded", description="a folder, a hub name, embedded, or off")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    max_tokens: int | None = Field(
        None, ge=8, description="the longest input in tokens: a pair, or a whole prompt"
    )
    dtype: Dtype = Field(
        "auto",
        description=f"{DTYPE_SAYS}; auto: bf16 where the index's encoder runs in it (for BERT's "
        "family and ModernBERT), else as the model's files",
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 1024 on a CPU, 65536 on a GPU", ge=1
    )

    @property
    def called(self) -> str:
        return self.model

    @property
    def off(self) -> bool:
        return self.model == "off"


class CrossSettings(ModelSettings):
    """[reranker]: a cross-encoder."""

    family: Literal["cross"] = Field("cross", description="a classifier of pairs")


class LanguageSettings(ModelSettings):
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


class ListSettings(LanguageSettings):
    """What every reranker has that is a language model and reads several passages at once."""

    passage_tokens: int = Field(
        300, ge=8, description="of a passage, the first so many tokens are read"
    )
    votes: bool = Field(
        False,
        description="whether each passage begins with its document's rank in every retriever's "
        'list, as "(dense: 3, bm25: -)"; see the prompt "votes"',
    )


class AnswerSettings(ListSettings):
    """What every reranker has whose model may write what it says of several passages."""

    reasoning_tokens: int = Field(
        0, ge=0, description="tokens that the model may write before its answer; 0: no reasoning"
    )
    keep_answers: bool = Field(
        False, description="whether what the model wrote is kept, in OUT/answers"
    )


class ListwiseSettings(AnswerSettings):
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

    @model_validator(mode="after")
    def _agree(self) -> Self:
        _refuse_reasoning(self)
        if self.stride > self.window:
            raise SettingsError(
                f"reranker.stride = {self.stride} is more than reranker.window = {self.window}: "
                "no window would see what lies between.",
                "Set reranker.stride to half of the window, so that what is good comes forward.",
            )
        return self


class SetwiseSettings(AnswerSettings):
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

    @model_validator(mode="after")
    def _agree(self) -> Self:
        _refuse_reasoning(self)
        return self


class GroupwiseSettings(AnswerSettings):
    """[[reranker]] of family groupwise: a language model that grades each passage of a group."""

    family: Literal["groupwise"] = Field("groupwise", description="a grade of each of a group")
    group: int = Field(10, ge=1, description="passages of a group, at most")
    passes: int = Field(
        2, ge=1, description="how often each is graded, in other groups; the mean counts"
    )


def _refuse_reasoning(given: "ListwiseSettings | SetwiseSettings") -> None:
    if given.answer == "logits" and given.reasoning_tokens:
        raise SettingsError(
            f"reranker.reasoning_tokens = {given.reasoning_tokens}, but the answer is its first "
            "token, by reranker.answer = logits.",
            "Set reranker.answer = generated, or leave reasoning_tokens out.",
        )


class PairwiseSettings(ListSettings):
    """[[reranker]] of family pairwise: a language model that says which of two passages is better,
    asked in both orders."""

    family: Literal["pairwise"] = Field("pairwise", description="which of two passages is better")
    pairs: Literal["all", "cycles"] = Field(
        "all", description="which are compared: all, or those of random cycles through the passages"
    )
    cycles: int = Field(
        4, ge=1, description="of pairs = cycles: each passage is in 2 pairs a cycle"
    )
    order: Literal["tour", "copeland", "bradley-terry", "thurstone"] = Field(
        "bradley-terry",
        description="what the preferences become: the best way through all, wins, or ratings",
    )
    seed: int = Field(0, ge=0, lt=1 << 63, description="of cycles, with the query's text")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.pairs == "cycles" and self.order in ("tour", "copeland"):
            raise SettingsError(
                f"reranker.order = {self.order} needs the preferences of all pairs, and "
                "reranker.pairs = cycles compares some.",
                "Order by bradley-terry or thurstone, or compare all pairs.",
            )
        return self


class AttentionSettings(ListSettings):
    """[[reranker]] of family attention: how much a language model that reads a query attends to
    each passage before it."""

    family: Literal["attention"] = Field("attention", description="attention to each of a list")
    best_last: bool = Field(
        True, description="the passages in reverse, so that the best so far are next to the query"
    )


class EnrichedSettings(ModelSettings):
    """[[reranker]] of family enriched: an encoder that embeds a query together with its list, and
    each passage by itself."""

    family: Literal["enriched"] = Field("enriched", description="a new vector of the query")
    model: str = Field(min_length=1, description="an encoder: a folder, or a hub name")
    prompt: str = Field("e2rank", description="a prompt by its name, or a file (YAML)")
    pooling: Pooling = Field("last", description="mean, cls, last, or auto: as the folder says")
    passages: int = Field(20, ge=1, description="passages in the prompt: the first; all are scored")
    passage_tokens: int = Field(
        1024, ge=8, description="of a passage, the first so many tokens stand in the prompt"
    )


class MaxsimSettings(RerankerSettings):
    """[[reranker]] of family maxsim: of each token of a query the nearest token of a passage, by
    the vectors that a column of the index holds."""

    family: Literal["maxsim"] = Field("maxsim", description="products of stored token vectors")
    of: str = Field("late", description="the column of token vectors, by its encoder's name")
    query_pool: float = Field(
        1.0,
        ge=1,
        description="a query keeps one vector for so many tokens, the sum of those that are alike; "
        "1: all",
    )

    @property
    def called(self) -> str:
        return self.of


class TermsSettings(RerankerSettings):
    """[[reranker]] of family terms: the terms that a query and a passage both have, by the weights
    that a sparse column of the index holds."""

    family: Literal["terms"] = Field("terms", description="products of stored weights of terms")
    of: str = Field("sparse", description="the sparse column, by its encoder's name")
    k1: float = Field(
        1.5, ge=0, description="of a column of family bm25: how soon a word that recurs is enough"
    )
    b: float = Field(0.75, ge=0, le=1, description="likewise: how much long passages are lowered")

    @property
    def called(self) -> str:
        return self.of


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
    | Annotated[GroupwiseSettings, Tag("groupwise")]
    | Annotated[PairwiseSettings, Tag("pairwise")]
    | Annotated[AttentionSettings, Tag("attention")]
    | Annotated[EnrichedSettings, Tag("enriched")]
    | Annotated[MaxsimSettings, Tag("maxsim")]
    | Annotated[TermsSettings, Tag("terms")],
    Discriminator(_family),
]
