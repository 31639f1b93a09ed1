"""Cards: all that decides a model's results."""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar


@dataclass(frozen=True)
class BesideWritten:
    """What a column is made with that reads texts written about passages beside the passages.

    Attributes:
        own: the fingerprint of the encoder's card as it is without them.
        written: that of the card of their column.
    """

    own: str
    written: str


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
        beside: texts that were written about passages, and are read too; none: none are.
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
    beside: BesideWritten | None = None
    family: Literal["dense"] = "dense"


@dataclass(frozen=True)
class Bm25Card:
    """How texts become words.

    Attributes:
        name: what people know it by.
        fingerprint: of all that decides which words a text has.
        stop_words: "english" or "none".
        marks: "keep" or "drop".
        beside: as of `EncoderCard`.
    """

    name: str
    fingerprint: str
    stop_words: str
    marks: str
    beside: BesideWritten | None = None
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
        beside: as of `EncoderCard`.
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
    beside: BesideWritten | None = None
    family: Literal["sparse"] = "sparse"


@dataclass(frozen=True)
class LateCard:
    """A model of several vectors of a passage as it will run: of its tokens, or, of family views,
    of the passage and of each text that was written about it.

    Attributes:
        name: the model as the settings name it.
        fingerprint: of all that decides its vectors and how they are stored; the name and the place
            are not in it.
        weights_sha256, tokeniser_fingerprint: of what texts go through.
        dim: components of a vector.
        max_tokens: the longest document in tokens, special ones and the model's mark included.
        query_max_tokens: the longest query, likewise.
        query_prompt, document_prompt: put before texts, behind the model's mark.
        dtype: of the forward pass: "fp32", "bf16", "fp16" or "int8".
        pool: tokens for which a passage keeps one vector.
        stored: "fp16", or the bits of a component beside a centroid: "4", "2" or "1".
        normalised: whether vectors have a length of 1.
        beside: as of `EncoderCard`.
    """

    name: str
    fingerprint: str
    weights_sha256: str
    tokeniser_fingerprint: str
    dim: int
    max_tokens: int
    query_max_tokens: int
    query_prompt: str
    document_prompt: str
    dtype: str
    pool: float
    stored: str
    normalised: bool
    beside: BesideWritten | None = None
    family: Literal["late", "views"] = "late"

    @property
    def bits(self) -> int:
        """Of a stored component; 0: they are stored as fp16."""
        return 0 if self.stored == "fp16" else int(self.stored)


@dataclass(frozen=True)
class DerivedCard:
    """What is made of another column, as it will be made.

    Attributes:
        name: the column.
        fingerprint: of all that decides it but for the sample that it is fitted on: that of the
            other column's own card is in it.
        dim: components of a passage's vector, or of those that codes are of.
    """

    name: str
    fingerprint: str
    dim: int


@dataclass(frozen=True)
class BitsCard(DerivedCard):
    """Binary codes of vectors, of so many bits for each component."""

    bits: int
    family: Literal["bits"] = "bits"


@dataclass(frozen=True)
class MuveraCard(DerivedCard):
    """Vectors that are made of token vectors, of `width` components each."""

    width: int
    family: Literal["muvera"] = "muvera"


@dataclass(frozen=True)
class LearnedCard(DerivedCard):
    """Learnt vectors of token vectors."""

    family: Literal["learned"] = "learned"


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


@dataclass(frozen=True)
class ImageCard:
    """An encoder of pictures and texts as it will run.

    Attributes:
        name: the model as the settings name it.
        fingerprint: of all that decides its vectors; the name and the place are not in it.
        weights_sha256, tokeniser_fingerprint: of what pictures and texts go through.
        dim: components of a vector.
        max_tokens: the longest text in tokens, special ones included.
        query_prompt, document_prompt: put before texts.
        mix: what becomes of a picture and a text in one: "mean" or "image".
        dtype: of the forward pass: "fp32", "bf16" or "fp16".
        stored: the type of stored vectors: "fp16" or "fp32".
    """

    name: str
    fingerprint: str
    weights_sha256: str
    tokeniser_fingerprint: str
    dim: int
    max_tokens: int
    query_prompt: str
    document_prompt: str
    mix: str
    dtype: str
    stored: str
    family: Literal["image"] = "image"


@dataclass(frozen=True)
class WriterCard:
    """A language model that writes texts, as it will run.

    Attributes:
        name: the model as the settings name it.
        fingerprint: of all that decides its texts: model, prompt, chat template, limits, how many
            texts, and how they are drawn; the name and the place are not in it.
        weights_sha256, tokeniser_fingerprint: of what inputs go through.
        prompt: the text of the prompt's file.
        max_tokens: the longest prompt with its answer.
        dtype: of the forward pass: "fp32", "bf16" or "fp16".
    """

    name: str
    fingerprint: str
    weights_sha256: str
    tokeniser_fingerprint: str
    prompt: str
    max_tokens: int
    dtype: str


@dataclass(frozen=True)
class WrittenCard:
    """Texts about passages, as they will be written and filtered.

    Attributes:
        name: the language model as the settings name it.
        fingerprint: of all that decides the texts but for the sample that passages are ranked in.
        writer: the language model and how it is asked.
        filter: the fingerprint of the bi-encoder that texts are filtered by; "": none are.
        filter_passages: of the sample; 0: there is none.
        keep_rank: of its passage, of a text that is kept; 0: all are.
    """

    name: str
    fingerprint: str
    writer: WriterCard
    filter: str = ""
    filter_passages: int = 0
    keep_rank: int = 0
    family: Literal["written"] = "written"

    @property
    def weights_sha256(self) -> str:
        """Of the language model."""
        return self.writer.weights_sha256

    @property
    def tokeniser_fingerprint(self) -> str:
        """Likewise."""
        return self.writer.tokeniser_fingerprint

    @property
    def dtype(self) -> str:
        """Likewise."""
        return self.writer.dtype


#: Columns of dense vectors.
DenseCard = EncoderCard | MuveraCard | LearnedCard | AnchorCard | ImageCard

#: Of what makes a column.
ColumnCard = DenseCard | Bm25Card | SparseCard | LateCard | BitsCard | WrittenCard


#: Of encoders that read texts, and may read what was written about passages beside them.
Reading = TypeVar("Reading", EncoderCard, Bm25Card, SparseCard, LateCard)


def own_card(card: Reading) -> Reading:
    """The encoder's card as it is without what was written about passages: that of its queries."""
    if card.beside is None:
        return card
    return replace(card, fingerprint=card.beside.own, beside=None)


#: Of models whose dtype may be left to the machine.
Halved = EncoderCard | LateCard


def weights_of(card: ColumnCard) -> str:
    """The sha256 of a model's weights; "" where there is no model."""
    found: str = getattr(card, "weights_sha256", "")
    return found


def dim_of(card: ColumnCard) -> int:
    """Components of a column's vectors; 0: they are not dense."""
    if isinstance(card, DenseCard):
        return card.dim
    return 0


@dataclass(frozen=True)
class ReadColumn:
    """A column of token vectors that a reranker reads, and the components of a vector."""

    name: str
    dim: int


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
        sees: "pairs" of a query and a passage, a query's "lists", or the values of both in
            "columns".
        alone: whether a passage's score depends on no other passage.
        relevant: which of a model's two labels, 0 or 1, is relevance; none: it has one.
        activation: what the model's files would have done to a logit, such as "sigmoid", and is not
            done; "" where they say nothing.
        reads: the column whose values it sees.
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
    sees: Literal["pairs", "lists", "columns"] = "pairs"
    alone: bool = True
    relevant: int | None = None
    activation: str = ""
    reads: ReadColumn | None = None

    @property
    def score(self) -> str:
        """What a score is, for people."""
        if self.reads is not None:
            return f"the products of {self.reads.dim} components of its token vectors"
        both = "" if self.relevant is None else f" of label {self.relevant} less the other's"
        without = f", without the model's {self.activation}" if self.activation else ""
        return f"logit{both}{without}"


def components_of(card: ColumnCard) -> int:
    """Of a query's vector, or of as many token vectors as a query has at most; 0: it is sparse."""
    if isinstance(card, LateCard):
        return card.dim if card.family == "views" else card.query_max_tokens * card.dim
    return dim_of(card)
