"""The index flow: scan → compare → ingest → embed → delete → assemble → publish.

The first run of an INDEX compares its corpus with nothing; every later one with the latest version,
and only what is new or changed is cut and embedded.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow.compute as pc

from pipelines.assembly import Material, assemble, version_parts
from pipelines.core.errors import GateRefused, InputError, SettingsError
from pipelines.core.fingerprint import fingerprint
from pipelines.core.gate import Change, Refusal, collapsed, refusals
from pipelines.core.layout import Limits
from pipelines.core.settings import Settings
from pipelines.core.sizing import default_part_size, refuse_misfits
from pipelines.core.stored import dtype_as_stored
from pipelines.core.units import Done, FileRef, total
from pipelines.core.version import Part, Version
from pipelines.corpus.compare import Mode
from pipelines.corpus.slices import Slice, plan_slices
from pipelines.models.card import EncoderCard, read_encoder_card, settled
from pipelines.models.machine import multiplies_bf16
from pipelines.stages.compare import Compared, Sides, compare_corpus
from pipelines.stages.delete import delete, read_ids
from pipelines.stages.embed import embed
from pipelines.stages.ingest import (
    Cutting,
    ingest,
    parts_of,
    passage_limit,
    passage_overlap,
)
from pipelines.stages.parts import new_part
from pipelines.stages.publish import Published, latest_version, made_by, publish, set_aside
from pipelines.stages.runner import Context
from pipelines.stages.scan import scan
from pipelines.stages.workspace import Workspace
from pipelines.storage import Sources


@dataclass(frozen=True)
class IndexPlan:
    """What an index run will read, with which model, on top of which version.

    `differs` names what changed about passages or vectors since the base was made: nothing that
    is stored serves then. `settings` are the run's, where the encoder's dtype is no longer "auto".
    """

    corpus: str
    mode: Mode
    slices: Sequence[Slice]
    bytes: int
    card: EncoderCard
    base: Published | None
    differs: Sequence[str]
    recipe: dict[str, Any]
    part_size: int
    settings: Settings
    run: str

    @property
    def stored(self) -> Sequence[Part]:
        """The parts of the version that the corpus is compared with."""
        return self.base.version.parts if self.base else ()

    @property
    def parent(self) -> int:
        """The number of the version that this one follows; 0: none."""
        return self.base.number if self.base else 0

    @property
    def reuse(self) -> Version | None:
        """The version whose parts, codec and shards are kept where they serve."""
        return self.base.version if self.base and not self.differs else None


def plan_indexing(corpus: str, workspace: Workspace, mode: Mode, settings: Settings) -> IndexPlan:
    """List the corpus, cut it into slices, read the model's card and the latest version.

    Raises:
        InputError: there is no such corpus or model.
        SettingsError: the index's settings suit neither the model nor the parts, or an upsert
            would have to embed documents that it does not hold.
    """
    sources = Sources(settings.s3)
    entries = sources.list(corpus)
    size = sum(entry.bytes for entry in entries)
    base = latest_version(workspace)
    settings, card = _settle(settings, base)
    slices = plan_slices(entries, sources.open, settings.corpus.slice_bytes)
    recipe = _recipe(settings, card)
    differs = _differing(base.version.recipe, recipe) if base else []
    if differs and mode == "upsert":
        raise SettingsError(
            f"{', '.join(differs)} changed since version {base.number if base else 0}, so every "
            "document must be embedded anew, and an upsert does not hold them all.",
            "Index the whole corpus: --mode snapshot.",
        )
    stored_size = base.version.part_size if base else default_part_size(size)
    part_size = settings.passages.part_size or stored_size
    refuse_misfits(settings.index, card.dim, part_size)
    run = fingerprint(
        {
            "slices": [piece.json() for piece in slices],
            "mode": mode,
            "base": base.version.made["attempt"] if base else None,
            "recipe": recipe,
            "part_size": part_size,
            **{name: getattr(settings, name).deciding() for name in ("corpus", "index", "audit")},
        }
    )
    return IndexPlan(
        corpus, mode, slices, size, card, base, differs, recipe, part_size, settings, run
    )


def _settle(settings: Settings, base: Published | None) -> tuple[Settings, EncoderCard]:
    """The settings with the encoder's dtype: the index's, at first what suits this machine."""
    encoder = dtype_as_stored(base.version, settings.encoder) if base else settings.encoder
    card = read_encoder_card(encoder, halve=multiplies_bf16())
    return settings.model_copy(update={"encoder": settled(encoder, card)}), card


def _recipe(settings: Settings, card: EncoderCard) -> dict[str, Any]:
    """What decides a document's passages and vectors; equal for settings that act alike."""
    limit = passage_limit(settings.passages, card)
    return {
        "the encoder": card.fingerprint,
        "its tokeniser": card.tokeniser_fingerprint,
        "encoder.stored": settings.encoder.stored,
        "passages.split": settings.passages.split,
        "passages.max_tokens": limit,
        "passages.overlap": passage_overlap(settings.passages, limit),
    }


def _differing(before: Any, now: dict[str, Any]) -> list[str]:
    return [name for name, value in now.items() if before.get(name) != value]


def index(context: Context, plan: IndexPlan) -> Published:
    """Run the flow; what an earlier run finished is not done again.

    Raises:
        InputError: no document would be left in the index.
        GateRefused: the version would differ too much from the one before it.
        AuditRefused: the index does not reach the audit's target.
        CommitConflict: another run published meanwhile.
        RunFailed: some units failed; rerun to resume.
    """
    _refuse_reembedding(plan, context.settings)
    scans = scan(context, plan.slices)
    set_aside(context, "scan", scans)
    sides = Sides(plan.slices, scans, plan.stored, plan.mode, plan.reuse is not None)
    compared = compare_corpus(context, sides)
    set_aside(context, "compare", compared.dones)
    night = Night(plan, scans, compared)
    night.refuse(night.changes(late=0, in_vain=0), context.settings)
    ingested = ingest(context, plan.slices, compared, Cutting(plan.card, plan.part_size))
    set_aside(context, "ingest", ingested)
    files = list(parts_of(ingested))
    embedded = embed(context, files, plan.card)
    set_aside(context, "embed", embedded)
    new = [new_part(f, d.outputs, d.facts) for f, d in zip(files, embedded, strict=True)]
    late = [done.outputs["rejected"] for done in (*ingested, *embedded)]
    late = [ref for ref in late if ref.rows]
    # A snapshot is all there is, so what cannot be indexed is gone; an upsert keeps what it had.
    spared = late if plan.mode == "upsert" else []
    stored = delete(context, plan.stored, compared, spared) if plan.reuse else []
    in_vain = _replaced_in_vain(context.workspace, compared, late)
    changes = night.changes(sum(ref.rows for ref in late), in_vain)
    changes["embedded"] = total(embedded, "rows")
    _require_documents(plan, changes, [*stored, *new])
    try:
        night.refuse(changes, context.settings)
        _refuse(collapsed(stored, new, context.settings.gate))
    except GateRefused:
        # What an encoder gone wrong has made must not be found again by the run after its repair.
        context.workspace.forget("embed", embedded)
        raise
    limits = Limits.nightly(
        context.settings.compact, plan.part_size, context.settings.index.shard_passages
    )
    assembled = assemble(context, Material(plan.reuse, stored, new, plan.card, limits))
    version = Version(
        parent=plan.parent,
        encoder={**asdict(plan.card), "settings": context.settings.encoder.deciding()},
        recipe=plan.recipe,
        part_size=plan.part_size,
        index_settings=context.settings.index.deciding(),
        audit_settings=context.settings.audit.deciding(),
        changes=changes,
        made=made_by("index", context.run, corpus=plan.corpus),
        **version_parts(assembled),
    )
    published = publish(context.workspace, version)
    # What could not be embedded tonight is tried again by the next run that finds it.
    context.workspace.forget("embed", [d for d in embedded if d.counts.get("rejected")])
    return published


@dataclass(frozen=True)
class Night:
    """What a run found about its corpus, as counts that add up.

    rows = added + changed + unchanged + tombstones + rejected, and
    documents after = documents before + added - deleted.
    """

    plan: IndexPlan
    scans: Sequence[Done]
    compared: Compared

    @property
    def before(self) -> int:
        return sum(part.live.documents for part in self.plan.stored)

    def changes(self, late: int, in_vain: int) -> dict[str, int]:
        """The version's counts.

        Args:
            late: documents rejected after the comparison, while they were cut or embedded.
            in_vain: those of them that were to replace live ones; in a snapshot these are gone.
        """
        count = self.compared.count
        return {
            "rows": total(self.scans, "rows"),
            "added": count("added") - (late - in_vain),
            "changed": count("changed") - in_vain,
            "unchanged": count("unchanged"),
            "tombstones": count("tombstones"),
            "deleted": count("deleted") + (in_vain if self.plan.mode == "snapshot" else 0),
            "rejected": total(self.scans, "rejected") + count("rejected") + late,
        }

    def refuse(self, changes: dict[str, int], settings: Settings) -> None:
        """Raise GateRefused where this changes too much."""
        after = self.before + changes["added"] - changes["deleted"]
        names = ("changed", "deleted", "rows", "rejected")
        counts = {name: changes[name] for name in names}
        if self.plan.differs:  # gate.reembed has allowed that everything is embedded anew
            counts["changed"] = 0
        _refuse(refusals(Change(self.before, after, **counts), settings.gate))


def _refuse(reasons: Sequence[Refusal]) -> None:
    if reasons:
        said = "; ".join(refusal.reason for refusal in reasons)
        allowed = " ".join(f"--set {refusal.setting}" for refusal in reasons)
        raise GateRefused(
            f"The gate refused to publish: {said}.",
            f"Look at the corpus. If this is meant, allow it for this run: {allowed}.",
        )


def _refuse_reembedding(plan: IndexPlan, settings: Settings) -> None:
    if plan.differs and plan.base and not settings.gate.reembed:
        passages = plan.base.version.live.passages
        raise GateRefused(
            f"{', '.join(plan.differs)} changed since version {plan.base.number:06d}: all of its "
            f"{passages:,} passages would be embedded anew.",
            "Restore the setting, or allow it for this run: --set gate.reembed=true. Readers keep "
            "the old version meanwhile.",
        )


def _replaced_in_vain(workspace: Workspace, compared: Compared, late: Sequence[FileRef]) -> int:
    """How many documents were live before and are rejected in their new form."""
    if not late:
        return 0
    rejected = read_ids(workspace, late)
    tables = (workspace.read_table(ref) for ref in compared.removed)
    replaced = (table.filter(pc.field("replaced"))["doc_id"] for table in tables)
    return sum(pc.sum(pc.is_in(ids, value_set=rejected)).as_py() or 0 for ids in replaced)


def _require_documents(plan: IndexPlan, changes: dict[str, int], parts: Sequence[Part]) -> None:
    if any(part.live.documents for part in parts):
        return
    if plan.stored:
        raise InputError(
            f"{plan.corpus} would delete all documents of the index.",
            "An index holds at least one; start a new one elsewhere.",
        )
    raise InputError(
        f"{plan.corpus} has {changes['rows']} rows, and none can be indexed.",
        "The rejected table under runs/ says why, row by row."
        if changes["rejected"]
        else "It is empty.",
    )
