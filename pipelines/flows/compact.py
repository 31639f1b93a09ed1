"""The compact flow: rewrite and fold what is stored, into a version that answers as before."""

from dataclasses import replace

from shardrank.core.settings import Settings
from shardrank.flows.assemble import Material, assemble
from shardrank.stages.index.publish import made_now, publish
from shardrank.stages.run.executors import Amount
from shardrank.stages.run.runner import Context
from shardrank.stages.shared.versions import Published
from shardrank.version.folding import Limits
from shardrank.version.kept_settings import (
    audit_settings,
    further_encoders,
    index_encoder,
    kept_encoder,
    kept_indexes,
)
from shardrank.version.manifest import Changes, StoredEncoder, Version
from shardrank.version.mapped import still


def own_settings(base: Published, wanted: Settings) -> Settings:
    """The settings with the index's own [encoder] and [index] tables, and its [audit] where no
    other is asked for.

    Raises:
        SettingsError: another encoder or index is asked for than there is.
    """
    audit = audit_settings(base.version, wanted.audit)
    own = index_encoder if audit.query_file else kept_encoder  # questions are embedded
    encoder = own(base.version, wanted.dense)
    further = (each.settings for each in further_encoders(base.version, wanted))
    indexes = kept_indexes(base.version, wanted)
    own_tables = {"encoder": (encoder, *further), "index": indexes, "audit": audit}
    return wanted.model_copy(update=own_tables)


def compact_amount(base: Published) -> Amount:
    """How much there is to do at most."""
    return Amount(passages=base.version.live.passages)


def compact_index(context: Context, base: Published, asked: Settings) -> Published:
    """Leave no deleted row, and no small parts or shards that could be one; embed nothing.

    Args:
        context: with `own_settings` of the base.
        base: the version to compact.
        asked: the settings as they were given, which the version shows.

    Raises:
        AuditRefused: the index does not reach the audit's target.
        CommitConflict: another run published meanwhile.
        RunFailed: some units failed; rerun to resume.
    """
    version, settings = base.version, context.settings
    limits = Limits.full(version.part_size)
    first = StoredEncoder(version.dense.card, settings.dense)
    encoders = [first, *further_encoders(version, settings)]
    material = Material(version, version.parts, (), encoders, limits)
    assembled = assemble(context, material)
    documents = version.live.documents
    compacted = Version(
        parent=base.number,
        parts=assembled.parts,
        columns=version.columns,
        indexes=assembled.indexes,
        recipe=version.recipe,
        part_size=version.part_size,
        changes=Changes(rows=documents, unchanged=documents),
        mapped=still(version.mapped, assembled.parts),
        made=replace(
            made_now("compact", context.run, context.command),
            columns=version.made.columns,
            set=asked.given(),
        ),
    )
    return publish(context.workspace, compacted)
