"""Cards: all that decides a model's results."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EncoderCard:
    """An encoder as it will run.

    Attributes:
        name: the model as the settings name it.
        fingerprint: of all that decides its vectors; the name and the place are not in it.
        weights_sha256, tokeniser_fingerprint: of what documents go through.
        dim: components of a vector, after any cut.
        max_tokens: the longest document in tokens, special ones included.
        query_max_tokens: the longest query.
        pooling: "mean", "cls", "last" …; several are joined by "+"; "" for a static table.
        normalise: whether vectors are divided by their L2 norm in the end.
        dtype: of the forward pass: "fp32", "bf16", "fp16" or "int8".
    """

    name: str
    fingerprint: str
    weights_sha256: str
    tokeniser_fingerprint: str
    dim: int
    max_tokens: int
    query_max_tokens: int
    pooling: str
    normalise: bool
    query_prompt: str
    document_prompt: str
    dtype: str
    family: Literal["dense"] = "dense"


@dataclass(frozen=True)
class Bm25Card:
    """How texts become words.

    Attributes:
        name: what people know it by.
        fingerprint: of all that decides which words a text has.
        stop_words: "english" or "none".
        marks: "keep" or "drop".
    """

    name: str
    fingerprint: str
    stop_words: str
    marks: str
    family: Literal["bm25"] = "bm25"


@dataclass(frozen=True)
class SparseCard:
    """A learned sparse encoder as it will run.

    Attributes:
        name: the model as the settings name it.
        fingerprint: of all that decides its terms and weights; the name and the place are not in
            it.
        weights_sha256, tokeniser_fingerprint: of what documents go through.
        vocabulary: how many terms there are: they are 0 to vocabulary - 1.
        max_tokens: the longest document in tokens, special ones included.
        query_max_tokens: the longest query.
        dtype: of the forward pass: "fp32", "bf16" or "fp16".
        top: terms that a document keeps at most; none: all.
        query_top: terms that a query keeps at most.
    """

    name: str
    fingerprint: str
    weights_sha256: str
    tokeniser_fingerprint: str
    vocabulary: int
    max_tokens: int
    query_max_tokens: int
    query_prompt: str
    document_prompt: str
    dtype: str
    top: int | None = None
    query_top: int | None = None
    family: Literal["sparse"] = "sparse"


@dataclass(frozen=True)
class AnchorCard:
    """A cross-encoder's scores with anchor queries, as they will be made.

    Attributes:
        name: the cross-encoder as the settings name it.
        fingerprint: of all that decides the scores but for the sample that anchors are drawn from.
        model: the fingerprint of the cross-encoder's own card.
        weights_sha256, tokeniser_fingerprint: of the cross-encoder.
        dim: how many anchor queries there are.
        anchor_passages: passages that a query is scored with.
        queries_sha256: of the file of which anchor queries are drawn; "": passages serve.
        max_tokens: the longest pair, special tokens included.
        dtype: of the forward pass: "fp32", "bf16", "fp16" or "int8".
        stored: the type of stored scores: "fp16" or "fp32".
    """

    name: str
    fingerprint: str
    model: str
    weights_sha256: str
    tokeniser_fingerprint: str
    dim: int
    anchor_passages: int
    queries_sha256: str
    max_tokens: int
    dtype: str
    stored: str
    family: Literal["anchors"] = "anchors"


#: Of what makes a column.
ColumnCard = EncoderCard | Bm25Card | SparseCard | AnchorCard


def weights_of(card: ColumnCard) -> str:
    """The sha256 of a model's weights; "" where there is no model."""
    return "" if isinstance(card, Bm25Card) else card.weights_sha256


def dim_of(card: ColumnCard) -> int:
    """Components of a column's vectors; 0: they are not dense."""
    return card.dim if isinstance(card, EncoderCard | AnchorCard) else 0


@dataclass(frozen=True)
class RerankerCard:
    """A reranker as it will run.

    Attributes:
        name: the model as the settings name it.
        fingerprint: of all that decides its logits, which the interpolation does not.
        max_tokens: the longest pair, special tokens included.
        interpolation: a in a·logit + (1-a)·retrieval score.
        prompt: put before queries; of a language model the whole prompt file.
        dtype: of the forward pass: "fp32", "bf16", "fp16" or "int8".
        family: what kind of reranker it is.
        sees: "pairs" of a query and a passage, or a query's "lists".
        alone: whether a passage's score depends on no other passage.
        relevant: which of a model's two labels, 0 or 1, is relevance; none: it has one.
        activation: what the model's files would have done to a logit, such as "sigmoid", and is not
            done; "" where they say nothing.
    """

    name: str
    fingerprint: str
    weights_sha256: str
    tokeniser_fingerprint: str
    max_tokens: int
    interpolation: float
    prompt: str
    dtype: str
    family: str = "cross"
    sees: Literal["pairs", "lists"] = "pairs"
    alone: bool = True
    relevant: int | None = None
    activation: str = ""

    @property
    def score(self) -> str:
        """What a score is, for people."""
        both = "" if self.relevant is None else f" of label {self.relevant} less the other's"
        without = f", without the model's {self.activation}" if self.activation else ""
        return f"logit{both}{without}"
