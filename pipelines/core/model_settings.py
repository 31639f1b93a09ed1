"""Settings of encoders, one for each column."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Discriminator, Field, Tag

from shardrank.core.anchor_settings import AnchorSettings
from shardrank.core.bits_settings import BitsSettings
from shardrank.core.image_settings import ImageSettings
from shardrank.core.late_settings import LateSettings
from shardrank.core.learned_settings import LearnedSettings
from shardrank.core.muvera_settings import MuveraSettings
from shardrank.core.settings_base import NAME, SettingsTable, resize
from shardrank.core.views_settings import ViewsSettings
from shardrank.core.written_settings import WrittenSettings

#: Something that has an encoder's settings.
Made = TypeVar("Made")

#: The column of the first encoder, and the index over it.
DENSE = "dense"

Dtype = Literal["auto", "fp32", "bf16", "fp16", "int8"]
DTYPE_SAYS = "of the forward pass: fp32, bf16, fp16, or int8 (CPUs only)"
SparseDtype = Literal["auto", "fp32", "bf16", "fp16"]
Stored = Literal["fp16", "fp32"]
#: What an encoder reads of a passage about which texts were written.
Texts = Literal["append", "alone"]
TEXTS_SAYS = "what is read where of is set: append, the passage and the texts, or the texts alone"
WRITTEN_SAYS = "a column of family written, whose texts are read beside the passages"
Pooling = Literal["auto", "mean", "cls", "last"]


class EncoderSettings(SettingsTable):
    """[encoder]: the bi-encoder. Fields left at "auto" or none come from the model's own files."""

    family: Literal["dense"] = Field("dense", description="vectors of texts")
    name: str = Field("dense", pattern=NAME, description="of its column, and the index over it")
    model: str = Field("embedded", description="a folder, a hub name, or embedded")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    pooling: Pooling = Field("auto", description="mean, cls, last, or auto")
    normalise: bool | None = Field(None, description="divide by the L2 norm; default: the model's")
    query_prompt: str | None = Field(None, description="put before queries; default: the model's")
    document_prompt: str | None = Field(None, description="put before texts; default: the model's")
    max_tokens: int | None = Field(
        None, ge=8, description="the longest input in tokens, special ones included"
    )
    dim: int | None = Field(
        None, ge=1, description="keep the first components only (Matryoshka), then normalise"
    )
    layers: int | None = Field(
        None, ge=1, description="run the first layers only (2D Matryoshka); default: all"
    )
    dtype: Dtype = Field(
        "auto",
        description=f"{DTYPE_SAYS}; auto: the index's; for a new one bf16 where this machine "
        "multiplies it (for BERT's family and ModernBERT), else as the model's files",
    )
    stored: Stored = Field("fp16", description="type of the stored vectors")
    of: str | None = Field(None, description=f"{WRITTEN_SAYS}; not of the first encoder")
    written_weight: float = Field(
        0.3,
        gt=0,
        le=1,
        description="where of is set: that of the mean of the texts' vectors, as queries; the "
        "passage's own has the rest",
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 1024 on a CPU, 65536 on a GPU", ge=1
    )


class Bm25Settings(SettingsTable):
    """[[encoder]] of family bm25: words, weighted by how often they occur."""

    family: Literal["bm25"] = Field("bm25", description="how often words occur")
    name: str = Field("bm25", pattern=NAME, description="of its column, and the index over it")
    stop_words: Literal["english", "none"] = Field(
        "english", description="words that are left out: 33 English ones, or none"
    )
    marks: Literal["keep", "drop"] = Field(
        "keep",
        description="combining marks: drop takes é for e, where queries are written without them; "
        "not for scripts that write vowels as marks, such as Devanagari",
    )
    of: str | None = Field(None, description=WRITTEN_SAYS)
    texts: Texts = Field("append", description=TEXTS_SAYS)


class SparseSettings(SettingsTable):
    """[[encoder]] with family = "sparse": a learned sparse encoder, such as SPLADE. Fields left at
    "auto" or none come from the model's own files."""

    family: Literal["sparse"] = Field("sparse", description="terms of a vocabulary, with weights")
    name: str = Field("sparse", pattern=NAME, description="of its column, and the index over it")
    model: str = Field(min_length=1, description="a folder, or a hub name")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    query_prompt: str | None = Field(None, description="put before queries; default: the model's")
    document_prompt: str | None = Field(None, description="put before texts; default: the model's")
    max_tokens: int | None = Field(
        None, ge=8, description="the longest input in tokens, special ones included"
    )
    dtype: SparseDtype = Field(
        "auto",
        description="of the forward pass: fp32, bf16 or fp16; auto: as the model's files",
    )
    top: int | None = Field(
        None,
        ge=1,
        description="a passage keeps so many terms, the strongest; default: the model's "
        "max_active_dims, else all",
    )
    of: str | None = Field(None, description=WRITTEN_SAYS)
    texts: Texts = Field("append", description=TEXTS_SAYS)
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    batch_tokens: int | None = resize(
        None, "tokens in one forward pass; default: 1024 on a CPU, 65536 on a GPU", ge=1
    )


def made_of(settings: SettingsTable) -> str | None:
    """The column that an encoder's column is made of, be it beside the passages' texts; None: of
    these alone."""
    found: str | None = getattr(settings, "of", None)
    return found


def values_of(settings: SettingsTable) -> str | None:
    """The column whose values an encoder reads, of passages and of queries; None: it reads
    texts."""
    return None if isinstance(settings, _OF_TEXTS) else made_of(settings)


def reads_pictures(settings: SettingsTable) -> bool:
    """Whether an encoder reads pictures beside texts."""
    return isinstance(settings, ImageSettings)


def made_in_turn(encoders: Iterable[Made], settings: Callable[[Made], Any]) -> list[Made]:
    """Encoders beside the first, each behind what its column is made of, else in their order; what
    is made of a column that is not there comes last."""
    left, found, made = list(encoders), [], {None, DENSE}
    while ready := [each for each in left if made_of(settings(each)) in made]:
        found.append(ready[0])
        made.add(settings(ready[0]).name)
        left.remove(ready[0])
    return [*found, *left]


def _family(given: Any) -> Any:
    """Of a table or its settings: dense where it is not said."""
    if isinstance(given, Mapping):
        return given.get("family", "dense")
    return getattr(given, "family", None)


#: A table that says how a column is made.
ColumnSettings = Annotated[
    Annotated[EncoderSettings, Tag("dense")]
    | Annotated[Bm25Settings, Tag("bm25")]
    | Annotated[SparseSettings, Tag("sparse")]
    | Annotated[LateSettings, Tag("late")]
    | Annotated[BitsSettings, Tag("bits")]
    | Annotated[MuveraSettings, Tag("muvera")]
    | Annotated[LearnedSettings, Tag("learned")]
    | Annotated[AnchorSettings, Tag("anchors")]
    | Annotated[ImageSettings, Tag("image")]
    | Annotated[WrittenSettings, Tag("written")]
    | Annotated[ViewsSettings, Tag("views")],
    Discriminator(_family),
]

#: Those that may read written texts beside the passages'.
_OF_TEXTS = (EncoderSettings, Bm25Settings, SparseSettings, ViewsSettings)

#: The same as classes.
COLUMN_TABLES: tuple[type[SettingsTable], ...] = tuple(
    get_args(each)[0] for each in get_args(get_args(ColumnSettings)[0])
)
