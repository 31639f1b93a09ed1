"""The columns of an index as forecasts want them: their cards, and what is known of texts, as
numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from shardrank.core.cards import (
    BitsCard,
    ColumnCard,
    EncoderCard,
    LateCard,
    WrittenCard,
    dim_of,
)
from shardrank.core.index_settings import IndexSettings
from shardrank.core.model_settings import DENSE, ColumnSettings, made_of
from shardrank.core.settings import Settings
from shardrank.forecast.columns import Column, Cost, Made, Takes, Texts, takes
from shardrank.forecast.model import Model
from shardrank.forecast.work import Searching, Work
from shardrank.models.encoders.family import Reads
from shardrank.models.encoders.looks import Looked
from shardrank.models.encoders.registry import family_of
from shardrank.models.size import ModelSize
from shardrank.version.manifest import StoredEncoder, Version
from shardrank.version.sizing import CodecPlan, plan_codec

#: What is read and kept of passages, where nobody has looked at any.
UNSEEN = Looked(0.0)

#: By column, what a look at texts says of it.
Looks = Mapping[str, Looked]


@dataclass(frozen=True)
class Encoded:
    """An encoder of a further column, and its card."""

    settings: ColumnSettings
    card: ColumnCard


def model_of(size: ModelSize, dtype: str) -> Model:
    """The model of such a size. No speed was measured of models that run as transformers has them,
    and none in fp16."""
    attention, measured = size.attention, size.ours and dtype != "fp16"
    return Model(
        parameters=size.multiplied,
        dtype=dtype,
        far=attention.far,
        near=attention.near,
        reach=attention.reach,
        looked_up=size.looked_up,
        measured=measured,
    )


def unmeasured(work: Work) -> list[str]:
    """A line for each model whose speed is only about as said."""
    models = {"the first encoder": work.encoder}
    sides = [(c.name, model) for c in work.columns for model in (c.takes.passage.model,)]
    models |= {f"the encoder {name}": model for name, model in sides if model is not None}
    models |= {f"the {each.settings.family} reranker": each.model for each in work.rerankers}
    return [
        f"Of models such as {name} ({model.dtype}) no speed was measured: a guess by its size."
        for name, model in models.items()
        if not model.measured
    ]


def read_encoded(settings: Settings, first: EncoderCard) -> list[Encoded]:
    """The encoders beside the first that the settings name. Raises what reading them raises."""
    cards: dict[str, ColumnCard] = {DENSE: first}
    for each in settings.further:
        cards[each.name] = family_of(each).read(each, cards.get(made_of(each) or ""))
    return [Encoded(each, cards[each.name]) for each in settings.further]


def looks(encoded: Sequence[Encoded], texts: Sequence[str]) -> dict[str, Looked]:
    """What each that reads texts takes of some."""
    both = [(each, family_of(each.settings).reads) for each in encoded]
    return {
        each.settings.name: reads.look(each.settings, each.card, texts)
        for each, reads in both
        if reads is not None
    }


def columns(
    encoded: Sequence[Encoded], settings: Settings, work: Work, seen: Looks
) -> tuple[Column, ...]:
    """Of all further encoders in order, for a work that knows how many passages there are, and how
    long."""
    found, made = {DENSE: _first(work)}, []
    for each in encoded:
        source = made_of(each.settings) or ""
        looked = seen.get(each.settings.name, UNSEEN)
        known = takes(_made(each, found.get(source), work, looked))
        found[each.settings.name] = known
        made.append(_column(each, source, known, settings, work))
    return tuple(made)


def stored_columns(
    version: Version, wanted: Sequence[StoredEncoder], settings: Settings, work: Work
) -> tuple[Column, ...]:
    """Of those of a version's that are wanted, which are as large as their files say; their models
    are where the encoders say."""
    encoded = [Encoded(each.settings, each.card) for each in wanted]
    rows = max(1, sum(part.rows for part in version.parts))
    found = []
    for column in columns(encoded, settings, work, {}):
        files = [part.columns[column.name].file for part in version.parts]
        bytes_ = sum(file.bytes for file in files) / rows
        index = version.indexes.get(column.name)
        held = column.takes.held * bytes_ / max(1.0, column.takes.bytes)
        known = replace(column.takes, bytes=bytes_, held=max(1.0, held))
        found.append(replace(column, takes=known, plan=index.plan if index else None))
    return tuple(found)


def expected_searches(work: Work, nprobe: int) -> tuple[Searching, ...]:
    """What is searched unless the settings say otherwise: every index, but codes of vectors that
    have one themselves."""
    indexed = {column.name for column in work.columns if column.plan} | {DENSE}
    first = Searching(DENSE, work.k, work.nprobe, work.depth)
    others = [
        Searching(column.name, work.k, min(nprobe, column.plan.nlist), work.depth)
        for column in work.columns
        if column.plan and not (column.plan.kind == "binary" and column.of in indexed)
    ]
    return (first, *others)


def _first(work: Work) -> Takes:
    """What the first column is, for those that are made of it."""
    return Takes(work.dim, 1, 1, work.value_bytes, Cost(), Cost(), compared=work.dim)


def _made(each: Encoded, source: Takes | None, work: Work, looked: Looked) -> Made:
    family, card = family_of(each.settings), each.card
    reads: Reads | None = family.reads
    sides = reads.sides(each.settings) if reads and reads.sides else None
    dtype = getattr(card, "dtype", "fp32")
    asked = reads.asked(each.settings, card, work.query_tokens) if reads else 0.0
    rows = family.fit.rows(each.settings, card) if family.fit else 0
    return Made(
        settings=each.settings,
        card=card,
        texts=Texts(work.passage_tokens, work.query_tokens, looked.read, looked.held, asked),
        source=source,
        documents=model_of(sides.documents, dtype) if sides else None,
        queries=model_of(sides.queries, dtype) if sides else None,
        sampled=min(rows, work.passages),
    )


def _column(each: Encoded, source: str, known: Takes, settings: Settings, work: Work) -> Column:
    index, rows = settings.index_of(each.settings.name), 0
    family = family_of(each.settings)
    if family.fit:
        rows = min(family.fit.rows(each.settings, each.card), work.passages)
    return Column(
        name=each.settings.name,
        family=each.card.family,
        of=source,
        takes=known,
        sampled=rows,
        plan=index_plan(each.card, index, work.passages, known.centroids),
        shard_passages=index.shard_passages,
    )


def index_plan(
    card: ColumnCard, index: IndexSettings, passages: int, centroids: int
) -> CodecPlan | None:
    """Of the index over a column; none: there is none, as over texts."""
    if index.kind == "none" or isinstance(card, WrittenCard):
        return None
    if isinstance(card, LateCard):
        kinds: dict[str, Callable[[], CodecPlan]] = {
            "exact": lambda: CodecPlan.without("maxsim", index.seed),
            "plaid": lambda: replace(CodecPlan.without("plaid", index.seed), nlist=centroids),
        }
        return kinds[index.kind]() if index.kind in kinds else None
    if isinstance(card, BitsCard):
        return replace(CodecPlan.without("binary", index.seed), nlist=1)
    if dim := dim_of(card):
        return plan_codec(index, passages, dim)
    return CodecPlan.without("inverted", index.seed)
