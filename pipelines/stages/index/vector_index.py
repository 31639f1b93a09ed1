"""An index over vectors: exact, which has no file, or of shards that share a codec."""

from collections.abc import Sequence
from dataclasses import replace

from shardrank.core.cards import ColumnCard, DocumentCard, EncoderCard, dim_of
from shardrank.core.index_settings import IndexSettings
from shardrank.stages.index.audit import Audited, audit
from shardrank.stages.index.build import build, train
from shardrank.stages.index.wanted import WantedIndex, grouped
from shardrank.stages.run.runner import Context
from shardrank.version.drift import drifted, outgrown
from shardrank.version.indexes import Codec, Index, Shard
from shardrank.version.sizing import EXACT_SHARD_PASSAGES, CodecPlan, plan_codec, plan_shards


def vector_index(context: Context, wanted: WantedIndex) -> Index:
    """Built and audited; the base's codec is kept while it serves."""
    base, card = wanted.base, wanted.encoder.card
    if base and (codec := serving_codec(base, wanted.settings, wanted.passages)):
        shards = _shards(context, wanted, codec)
        drift = drifted(codec, shards, wanted.parts, context.settings.compact.max_drift)
        if not drift and _passes(kept := _audited(context, wanted, base.plan, codec, shards)):
            return kept
    plan = plan_codec(wanted.settings, wanted.passages, dim_of(card), _unit(card))
    trained = train(context, wanted.parts, wanted.column, plan)
    fresh = replace(wanted, kept=())
    return _audited(context, wanted, plan, trained, _shards(context, fresh, trained))


def _unit(card: ColumnCard) -> bool:
    """Whether all vectors have a length of 1."""
    if isinstance(card, DocumentCard):
        return card.unit
    return isinstance(card, EncoderCard) and card.normalise


def serving_codec(base: Index, settings: IndexSettings, passages: int) -> Codec | None:
    """The index's codec, if one of so many passages may keep it by size and settings."""
    same = base.settings.deciding() == settings.deciding()
    return base.codec if same and base.codec and not outgrown(base.codec, passages) else None


def _passes(index: Index) -> bool:
    return index.audit.recall >= index.audit.target


def _shards(context: Context, wanted: WantedIndex, codec: Codec | None) -> list[Shard]:
    """Over all parts: those that stay, and new ones."""
    if codec is None:
        rows = [part.rows for part in wanted.parts]
        groups = plan_shards(rows, max(EXACT_SHARD_PASSAGES, *rows))
        return [Shard(tuple(group), None) for group in groups]
    found = grouped(wanted)
    return [*found.kept, *build(context, wanted, found.groups, codec)]


def _audited(
    context: Context,
    wanted: WantedIndex,
    plan: CodecPlan,
    codec: Codec | None,
    shards: Sequence[Shard],
) -> Index:
    return Index(
        column=wanted.column,
        plan=plan,
        settings=wanted.settings,
        codec=codec,
        counts=None,
        shards=tuple(shards),
        audit=audit(context, Audited(wanted, shards, plan)),
        audit_settings=context.settings.audit,
    )
