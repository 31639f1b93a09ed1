"""Another first encoder, and old documents that it embeds over several nights: which are due, and
what serves the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from shardrank.core.cards import EncoderCard
from shardrank.core.errors import AuditRefused, SettingsError
from shardrank.core.index_settings import BackfillSettings
from shardrank.corpus.changes import Mode
from shardrank.stages.index.mapping import EMBED, LearntMap, learn_map, no_vector
from shardrank.stages.run.runner import Context
from shardrank.stages.shared.versions import Published
from shardrank.version.manifest import DenseEncoder, Version
from shardrank.version.mapped import Mapped, due, is_mapped, mapped_documents


@dataclass(frozen=True)
class Backfill:
    """What a night embeds of the documents that its first encoder has not seen.

    Attributes:
        due: ordinals of the parts whose documents are embedded tonight.
        documents: that were old when the backfill began.
        left: that are old after tonight, if none goes and none changes.
        before: the encoder whose vectors a map is to be learnt for tonight; None: they are mapped
            already, or all are due.
    """

    due: tuple[int, ...]
    documents: int
    left: int
    before: EncoderCard | None


def plan_backfill(
    base: Published | None,
    differs: Sequence[str],
    same_encoder: bool,
    settings: BackfillSettings,
    mode: Mode,
) -> Backfill | None:
    """What is due tonight; None: no document is served through a map, and none shall be.

    Args:
        base: the version before.
        differs: what changed since about how documents are cut or embedded.
        same_encoder: whether its first encoder makes the same vectors.
        settings: of the night.
        mode: an upsert does not hold the old documents, so that none is due.

    Raises:
        SettingsError: documents are still served through a map to the version's encoder, and
            another one is asked for; or an upsert shall embed all that it does not hold.
    """
    if base is None or (differs and (same_encoder or settings.share is None)):
        return None
    if differs and mode != "snapshot" and settings.share == 1:
        raise SettingsError(
            "backfill.share = 1, and an upsert does not hold the documents that it lacks.",
            "Give the whole corpus as a snapshot, or leave the others to a map: "
            "--set backfill.share=0.",
        )
    share = settings.share if mode == "snapshot" and settings.share else 0.0
    if not differs:
        return _going_on(base.version, share)
    if base.version.mapped and share < 1:
        raise _second_map(base, base.version.mapped, differs)
    parts, live = base.version.parts, base.version.live.documents
    chosen = due(list(enumerate(parts)), live, share)
    left = live - sum(parts[n].live.documents for n in chosen)
    return Backfill(tuple(chosen), live, left, base.version.dense.card if left else None)


def _going_on(version: Version, share: float) -> Backfill | None:
    if version.mapped is None:
        return None
    old = [(n, part) for n, part in enumerate(version.parts) if is_mapped(part)]
    chosen = due(old, version.mapped.documents, share)
    embedded = sum(version.parts[n].live.documents for n in chosen)
    left = mapped_documents(version.parts) - embedded
    return Backfill(tuple(chosen), version.mapped.documents, left, None)


def _second_map(base: Published, mapped: Mapped, differs: Sequence[str]) -> SettingsError:
    version = base.version
    return SettingsError(
        f"Changed since version {base.number:06d}: {'; '.join(differs)}. But "
        f"{mapped_documents(version.parts):,} of its {version.live.documents:,} documents are "
        f"still served through a map from {mapped.before.name} to {version.dense.card.name}, and "
        "there is no map of two encoders at once.",
        "Embed all documents by the new encoder in one night (a snapshot with --set "
        "backfill.share=1), finish this backfill first, or go back to a version before it: "
        "shardrank rollback INDEX N.",
    )


def learnt(context: Context, plan: Backfill, version: Version, now: DenseEncoder) -> Mapped:
    """The map of the version's vectors to those of its new first encoder, before anything else is
    embedded.

    Raises:
        AuditRefused: too little is found through it.
        InputError: there are too few passages with a finite vector, or there is none.
    """
    assert plan.before is not None
    settings = context.settings.backfill
    found, embedded = learn_map(context, version.parts, now)
    if found.recall < settings.target:
        # Not found again by the run after the repair, as of `embed`.
        context.workspace.forget(EMBED.name, embedded)
        raise _too_low(found, plan.before, now.card, settings)
    return Mapped(
        before=plan.before,
        map=found.map,
        kind=found.kind,
        recall=found.recall,
        measured=found.measured,
        documents=plan.documents,
        settings=settings,
        not_finite=no_vector(embedded),
    )


def _too_low(
    found: LearntMap, before: EncoderCard, now: EncoderCard, settings: BackfillSettings
) -> AuditRefused:
    return AuditRefused(
        f"Through the {found.kind} map from {before.name} to {now.name} a search finds Recall@10 "
        f"{found.recall:.3f} of what vectors of {now.name} find, among {found.measured:,} "
        f"passages: below backfill.target {settings.target:g}; nothing was published.",
        "Embed all documents at once (a snapshot with --set backfill.share=1), learn of more "
        f"passages (backfill.sample is {settings.sample:,}), or lower backfill.target.",
        {"map": found.recall},
    )
