"""From parts to a version: compact → train → build → audit. Shared by all flows that publish."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardrank.core.cards import EncoderCard
from shardrank.core.settings import IndexSettings
from shardrank.stages.index.audit import Audited, audit
from shardrank.stages.index.build import build, train
from shardrank.stages.index.compact import compact
from shardrank.stages.run.runner import Context
from shardrank.version.drift import drifted, outgrown
from shardrank.version.folding import Limits, Size, plan_folds, plan_rewrites
from shardrank.version.manifest import DENSE, Codec, Index, Part, Shard, Version
from shardrank.version.sizing import EXACT_SHARD_PASSAGES, CodecPlan, plan_codec, plan_shards


@dataclass(frozen=True)
class Material:
    """What a version is made from.

    Attributes:
        base: the version whose codec and shards may be kept; None: there is none that serves.
        stored: its parts in its order, with tonight's deletions; empty without a base.
        new: parts that no shard covers yet.
        card: the encoder's.
        limits: when parts and shards are rewritten.
    """

    base: Version | None
    stored: Sequence[Part]
    new: Sequence[Part]
    card: EncoderCard
    limits: Limits


@dataclass(frozen=True)
class Built:
    """The parts of a version, and an index over them that is not audited yet."""

    parts: Sequence[Part]
    shards: Sequence[Shard]
    codec: Codec | None
    plan: CodecPlan


@dataclass(frozen=True)
class Assembled:
    """The parts of a version, and its index."""

    parts: tuple[Part, ...]
    index: Index


@dataclass(frozen=True)
class Grouping:
    """Parts, and those of the base's shards whose parts are all still there."""

    parts: Sequence[Part]
    shards: Sequence[Shard]


def assemble(context: Context, material: Material) -> Assembled:
    """Lay out, build and audit an index; the base's codec is kept while it serves."""
    layout = _compacted(context, material)
    base, settings = material.base, context.settings
    passages = sum(part.live.passages for part in layout.parts)
    if base and (codec := serving_codec(base, settings.index, passages)):
        kept = _indexed(context, material, layout, codec, base.index.plan)
        drift = drifted(codec, kept.shards, kept.parts, settings.compact.max_drift)
        if not drift and _passes(audited := _audited(context, material.card, kept)):
            return audited
    plan = plan_codec(settings.index, passages, material.card.dim)
    fresh = replace(layout, shards=())
    trained = train(context, layout.parts, DENSE, plan)
    return _audited(context, material.card, _indexed(context, material, fresh, trained, plan))


def serving_codec(base: Version, settings: IndexSettings, passages: int) -> Codec | None:
    """The version's codec, if an index of so many passages may keep it by size and settings."""
    same = base.index.settings.deciding() == settings.deciding()
    codec = base.index.codec
    return codec if same and codec and not outgrown(codec, passages) else None


def _passes(assembled: Assembled) -> bool:
    return assembled.index.audit.recall >= assembled.index.audit.target


def _compacted(context: Context, material: Material) -> Grouping:
    """All parts, rewritten where the limits ask for it, and the shards that this leaves whole."""
    before = [*material.stored, *material.new]
    groups = plan_rewrites([Size(p.rows, p.live.passages) for p in before], material.limits)
    rewritten = compact(context, before, groups)
    moved = {old for group in groups for old in group}
    # A rewritten part takes the place of the first of those it is made from; it may be empty.
    kept: dict[int, Part | None] = {n: p for n, p in enumerate(before) if n not in moved}
    kept |= {group[0]: part for group, part in zip(groups, rewritten, strict=True)}
    parts = {n: part for n, part in sorted(kept.items()) if part is not None}
    places = {old: new for new, old in enumerate(parts)}
    shards = [
        replace(shard, parts=tuple(places[n] for n in shard.parts))
        for shard in (material.base.index.shards if material.base else ())
        if shard.file and not moved.intersection(shard.parts)
    ]
    return Grouping(list(parts.values()), shards)


def _indexed(
    context: Context, material: Material, layout: Grouping, codec: Codec | None, plan: CodecPlan
) -> Built:
    """Shards over all parts: those of the layout that are not folded, and new ones."""
    parts, rows = layout.parts, [part.rows for part in layout.parts]
    if codec is None:
        groups = plan_shards(rows, max(EXACT_SHARD_PASSAGES, *rows))
        shards = [Shard(tuple(group), None) for group in groups]
        return Built(parts, shards, None, plan)
    kept = _unfolded(layout, material.limits)
    covered = {n for shard in kept for n in shard.parts}
    loose = [n for n in range(len(parts)) if n not in covered]
    most = context.settings.index.shard_passages
    groups = [[loose[n] for n in g] for g in plan_shards([rows[n] for n in loose], most)]
    return Built(parts, [*kept, *build(context, parts, DENSE, groups, codec)], codec, plan)


def _unfolded(layout: Grouping, limits: Limits) -> list[Shard]:
    """The shards that stay: small ones of like size go, to be built anew as one with the rest."""
    live = [part.live.passages for part in layout.parts]
    sizes = {n: sum(live[p] for p in shard.parts) for n, shard in enumerate(layout.shards)}
    covered = {p for shard in layout.shards for p in shard.parts}
    loose = sum(rows for p, rows in enumerate(live) if p not in covered)
    folded = plan_folds({**sizes, -1: loose} if loose else sizes, limits)
    return [shard for n, shard in enumerate(layout.shards) if n not in folded]


def _audited(context: Context, card: EncoderCard, built: Built) -> Assembled:
    audited = Audited(built.parts, DENSE, built.shards, built.plan, card)
    index = Index(
        column=DENSE,
        plan=built.plan,
        settings=context.settings.index,
        codec=built.codec,
        shards=tuple(built.shards),
        audit=audit(context, audited),
        audit_settings=context.settings.audit,
    )
    return Assembled(tuple(built.parts), index)
