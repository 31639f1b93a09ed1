"""The index flow: scan → compare → ingest → embed → delete → assemble → publish.

The first run of an INDEX compares its corpus with nothing; every later one with the latest version,
and only what is new or changed is cut and embedded. Where the first encoder is another one, what is
old may be served through a map, and be embedded night by night (flows/backfill.py).
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from shardrank.core.cards import dim_of
from shardrank.core.errors import GateRefused, InputError
from shardrank.core.settings import Settings
from shardrank.core.units import total
from shardrank.corpus.named import named, refuse_absent
from shardrank.flows.assemble import Assembled, Material, assemble
from shardrank.flows.backfill import learnt
from shardrank.flows.index_changes import Made, Night, refuse_collapsed
from shardrank.flows.index_dtype import hold
from shardrank.flows.index_plan import IndexPlan
from shardrank.index.library import require_faiss
from shardrank.stages.index.columns import Columns, with_columns
from shardrank.stages.index.compare import Compared, Sides, compare_corpus
from shardrank.stages.index.delete import delete
from shardrank.stages.index.embed import embed, refuse_broken_parts
from shardrank.stages.index.ingest import (
    Cutting,
    ingest,
)
from shardrank.stages.index.mapping import with_mapped
from shardrank.stages.index.publish import keep_listing, made_now, publish, rejected_told, set_aside
from shardrank.stages.index.scan import names_of, refuse_unreadable, scan
from shardrank.stages.index.vector_index import serving_codec
from shardrank.stages.run.runner import Context
from shardrank.stages.shared.versions import Published
from shardrank.storage import Sources
from shardrank.version.folding import Limits
from shardrank.version.manifest import Changes, Version
from shardrank.version.mapped import Mapped, still
from shardrank.version.parts import Part
from shardrank.version.sizing import (
    plan_codec,
)


def index(context: Context, plan: IndexPlan) -> Published:
    """Run the flow; what an earlier run finished is not done again.

    Raises:
        InputError: no document would be left in the index, no row of a file can be read, no file
            has a column that the settings name, or the encoder gives nothing finite.
        GateRefused: the version would differ too much from the one before it.
        AuditRefused: the index does not reach the audit's target, or a map its own.
        CommitConflict: another run published meanwhile.
        RunFailed: some units failed; rerun to resume.
    """
    _refuse_reembedding(plan, context.settings)
    hold(context.workspace, plan.begun)
    night = _compare(context, plan)
    night.refuse(context, night.expected())
    mapped = _mapped(context, plan)
    made = _make(context, plan, night.compared)
    # A snapshot is all there is, so what cannot be indexed is gone; an upsert keeps what it had.
    spared = made.late if plan.mode == "upsert" else []
    stored = delete(context, plan.stored, night.compared, spared) if plan.reuse else []
    plan = plan.left_with(stored)
    if plan.differs and mapped:
        stored = with_mapped(context, stored, mapped.map, plan.settings.dense.stored)
    changes = night.changes(context.workspace, made)
    try:
        _require_documents(context, plan, changes, [*stored, *made.parts], made)
        night.refuse(context, changes)
        refuse_broken_parts(plan.dense, made.embedded)
        refuse_collapsed(_of_encoder(plan, stored), made.parts, context.settings.gate)
    except (GateRefused, InputError):
        # What an encoder gone wrong has made must not be found again by the run after its repair.
        context.workspace.forget("embed", made.embedded)
        raise
    parts = [*_without(stored, plan.replaced), *made.parts]
    columns = with_columns(context, parts, plan.encoders[0], plan.further)
    assembled = assemble(context, _material(context.settings, plan, columns, len(stored)))
    names = {*plan.source.names, *names_of(night.scans), *plan.met}
    version = _version(
        context, plan, changes, assembled, tuple(named(names, context.settings.corpus))
    )
    version = replace(version, mapped=still(mapped, version.parts))
    published = publish(context.workspace, version)
    # What could not be embedded tonight is tried again by the next run that finds it.
    context.workspace.forget("embed", [d for d in made.embedded if d.counts.get("rejected")])
    return published


def _compare(context: Context, plan: IndexPlan) -> Night:
    keep_listing(context, plan.source.listing)
    scans = scan(context, plan.source.slices)
    set_aside(context, "scan", scans)
    refuse_unreadable(plan.source.slices, scans, Sources(context.settings.s3))
    if total(scans, "rows"):
        refuse_absent(plan.source.names | names_of(scans), context.settings.corpus, plan.met)
    sides = Sides(plan.source.slices, scans, plan.stored, plan.mode, plan.due)
    compared = compare_corpus(context, sides)
    set_aside(context, "compare", compared.dones)
    return Night(plan.stored, plan.mode, plan.reuse is None, scans, compared)


def _mapped(context: Context, plan: IndexPlan) -> Mapped | None:
    """The map that serves what is old, if something is: the version's, or one that is learnt."""
    if plan.backfill is None or plan.reuse is None:
        return None
    if plan.backfill.before is None:
        return None if plan.differs else plan.reuse.mapped
    return learnt(context, plan.backfill, plan.reuse, plan.dense)


def _of_encoder(plan: IndexPlan, stored: Sequence[Part]) -> list[Part]:
    """Stored parts with vectors of the first encoder, or mapped to them: not those of an encoder
    before, of which nothing is left."""
    return [part for part in stored if not plan.differs or part.live.documents]


def _make(context: Context, plan: IndexPlan, compared: Compared) -> Made:
    ingested = ingest(context, plan.source.slices, compared, Cutting(plan.card, plan.part_size))
    set_aside(context, "ingest", ingested)
    files = [part for done in ingested for part in done.made.parts]
    _refuse_codecs(plan, sum(part.passages.rows for part in files))
    embedded = embed(context, files, plan.dense)
    set_aside(context, "embed", embedded)
    return Made(ingested, embedded, [done.made.part for done in embedded])


def _refuse_codecs(plan: IndexPlan, new: int) -> None:
    """Raise SettingsError where an index that is asked for cannot be made of so many passages,
    before any is embedded.

    What is deleted tonight still counts here, so that only what fails in any case is refused; what
    is embedded again counts once.
    """
    due = set(plan.due)
    kept = (part for n, part in enumerate(plan.stored) if n not in due)
    passages = new + sum(part.live.passages for part in kept)
    for encoder in plan.encoders:
        settings, dim = plan.settings.index_of(encoder.name), dim_of(encoder.card)
        base = plan.kept_index(encoder.name)
        serves = base and (settings.kind == "auto" or serving_codec(base, settings, passages))
        if dim and settings.kind != "none" and not serves:
            require_faiss(plan_codec(settings, passages, dim).kind)


def _without(parts: Sequence[Part], columns: Collection[str]) -> list[Part]:
    """The parts without some of their columns."""
    return [
        replace(part, columns={n: c for n, c in part.columns.items() if n not in columns})
        for part in parts
    ]


def _material(settings: Settings, plan: IndexPlan, columns: Columns, stored: int) -> Material:
    """Of the parts the first `stored` were there before."""
    limits = Limits.nightly(settings.compact, plan.part_size)
    parts = columns.parts
    return Material(plan.reuse, parts[:stored], parts[stored:], columns.encoders, limits)


def _version(
    context: Context,
    plan: IndexPlan,
    changes: Changes,
    assembled: Assembled,
    columns: tuple[str, ...],
) -> Version:
    return Version(
        parent=plan.parent,
        parts=assembled.parts,
        columns=assembled.encoders,
        indexes=assembled.indexes,
        recipe=plan.recipe,
        part_size=plan.part_size,
        changes=changes,
        made=replace(
            made_now("index", context.run, context.command),
            corpus=plan.source.corpus,
            columns=columns,
            set=plan.asked.given(),
        ),
    )


def _refuse_reembedding(plan: IndexPlan, settings: Settings) -> None:
    differs = plan.embedded_anew
    if differs and plan.base and not settings.gate.reembed:
        passages = plan.base.version.live.passages
        raise GateRefused(
            f"Changed since version {plan.base.number:06d}: {'; '.join(differs)}. All of its "
            f"{passages:,} passages would be embedded anew.",
            "Leave out what the index was made with, or allow it for this run: --set "
            "gate.reembed=true. Readers keep the old version meanwhile. Another first encoder can "
            "take over night by night: backfill.share.",
        )


def _require_documents(
    context: Context, plan: IndexPlan, changes: Changes, parts: Sequence[Part], made: Made
) -> None:
    if any(part.live.documents for part in parts):
        return
    refuse_broken_parts(plan.dense, made.embedded)
    if plan.stored:
        raise InputError(
            f"{plan.source.corpus} would delete all documents of the index.",
            "An index holds at least one; start a new one elsewhere.",
        )
    rejected = changes.rejected and rejected_told(context.workspace, context.run)
    raise InputError(
        f"{plan.source.corpus} has {changes.rows} rows, and none can be indexed.",
        f"Rejected: {rejected}." if rejected else "It is empty.",
    )
