"""The index flow: scan → compare → ingest → embed → delete → assemble → publish.

The first run of an INDEX compares its corpus with nothing; every later one with the latest version,
and only what is new or changed is cut and embedded.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from shardrank.core.cards import EncoderCard
from shardrank.core.errors import GateRefused, InputError, SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.papers import to_json
from shardrank.core.settings import DENSE, IndexSettings, Settings
from shardrank.core.source_files import Listing
from shardrank.core.units import total
from shardrank.corpus.changes import Mode
from shardrank.corpus.named import known_names, named, refuse_absent
from shardrank.corpus.slices import Slice, plan_files
from shardrank.flows.assemble import Assembled, Material, assemble
from shardrank.flows.index_changes import Made, Night, refuse_collapsed
from shardrank.flows.index_dtype import hold, settle, settle_further
from shardrank.index.library import require_faiss
from shardrank.stages.index.columns import with_columns
from shardrank.stages.index.compare import Compared, Sides, compare_corpus
from shardrank.stages.index.delete import delete
from shardrank.stages.index.embed import embed, refuse_broken_parts
from shardrank.stages.index.ingest import (
    Cutting,
    ingest,
    passage_limit,
    passage_overlap,
)
from shardrank.stages.index.publish import keep_listing, made_now, publish, set_aside
from shardrank.stages.index.scan import names_of, refuse_unreadable, scan
from shardrank.stages.index.vector_index import serving_codec
from shardrank.stages.run.executors import Amount
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import Published, latest_version
from shardrank.storage import Sources, contains
from shardrank.version.folding import Limits
from shardrank.version.kept_settings import audit_settings, further_settings, index_settings
from shardrank.version.manifest import Changes, DenseEncoder, Part, Recipe, StoredEncoder, Version
from shardrank.version.sizing import (
    TEXT_PER_COMPRESSED_BYTE,
    default_part_size,
    plan_codec,
    refuse_misfits,
    refuse_vector_settings,
)


@dataclass(frozen=True)
class IndexPlan:
    """What an index run will read, with which model, on top of which version.

    `names` are the columns known before a row is read: of Parquet files, and those of paths.
    `differs` names what changed about passages or vectors since the base was made: nothing that
    is stored serves then. `further` are the encoders beside the first. `settings` are the run's.
    """

    corpus: str
    listing: Listing
    names: Set[str]
    mode: Mode
    slices: Sequence[Slice]
    bytes: int
    card: EncoderCard
    base: Published | None
    differs: Sequence[str]
    recipe: Recipe
    further: Sequence[StoredEncoder]
    part_size: int
    settings: Settings
    run: str

    @property
    def stored(self) -> Sequence[Part]:
        """The parts of the version that the corpus is compared with."""
        return self.base.version.parts if self.base else ()

    @property
    def amount(self) -> Amount:
        """How much there is to do at most: what is stored may have to be rewritten."""
        packed = any(piece.compression or piece.format == "parquet" for piece in self.slices)
        stored = sum(part.live.passages for part in self.stored)
        return Amount(self.bytes * (TEXT_PER_COMPRESSED_BYTE if packed else 1), stored)

    @property
    def parent(self) -> int:
        """The number of the version that this one follows; 0: none."""
        return self.base.number if self.base else 0

    @property
    def met(self) -> tuple[str, ...]:
        """Columns that earlier runs of the index met; see `refuse_absent`."""
        return self.base.version.made.columns if self.base else ()

    @property
    def encoders(self) -> list[StoredEncoder]:
        """All of them, the first one first."""
        return [StoredEncoder(self.card, self.settings.dense), *self.further]

    @property
    def dense(self) -> DenseEncoder:
        """The first encoder."""
        return DenseEncoder(self.card, self.settings.dense)

    @property
    def replaced(self) -> list[str]:
        """Columns beside the first that tonight's encoders would make otherwise."""
        held = self.base.version.columns if self.base else {}
        return [
            each.name
            for each in self.further
            if each.name in held and not held[each.name].makes_as(each)
        ]

    @property
    def reuse(self) -> Version | None:
        """The version whose parts, codec and shards are kept where they serve."""
        return self.base.version if self.base and not self.differs else None


def plan_indexing(corpus: str, workspace: Workspace, mode: Mode, settings: Settings) -> IndexPlan:
    """List the corpus, cut it into slices, read the model's card and the latest version.

    Raises:
        InputError: there is no such corpus or model, a file of it cannot be read or would be left
            out, a column is missing, or the index lies inside the corpus.
        SettingsError: the index's settings suit neither the model nor the parts, or an upsert
            would have to embed documents that it does not hold.
    """
    _refuse_overlap(corpus, workspace.storage.root)
    sources = Sources(settings.s3)
    listing = sources.listing(corpus, settings.corpus.allow_unread)
    size = sum(entry.bytes for entry in listing.read)
    files = plan_files(listing.read, sources.open, settings.corpus.slice_bytes)
    base = latest_version(workspace)
    names = known_names(files, settings.corpus)
    met = base.version.made.columns if base else ()
    if all(file.schema is not None for file in files):
        refuse_absent(names, settings.corpus, met)
    slices = [piece for file in files for piece in file.slices]
    settings = _following(settings, base)
    card = settle(settings.dense, workspace, base)
    further = [StoredEncoder(settle_further(each, base), each) for each in settings.further]
    recipe = _recipe(settings, card)
    differs = recipe.changed(base.version.recipe) if base else []
    if differs and mode == "upsert":
        raise SettingsError(
            f"{', '.join(differs)} changed since version {base.number if base else 0}, so every "
            "document must be embedded anew, and an upsert does not hold them all.",
            "Index the whole corpus: --mode snapshot.",
        )
    stored_size = base.version.part_size if base else default_part_size(size)
    part_size = settings.passages.part_size or stored_size
    for each in [StoredEncoder(card, settings.dense), *further]:
        _refuse_misfits(each, settings.index_of(each.name), part_size)
    _refuse_unknown(settings)
    decided = {
        "slices": [to_json(piece) for piece in slices],
        "mode": mode,
        "base": base.version.made.attempt if base else None,
        "recipe": to_json(recipe),
        "further": [[each.name, each.card.fingerprint, each.stored] for each in further],
        "part_size": part_size,
    }
    return IndexPlan(
        corpus=corpus,
        listing=listing,
        names=names,
        mode=mode,
        slices=slices,
        bytes=size,
        card=card,
        base=base,
        differs=differs,
        recipe=recipe,
        further=further,
        part_size=part_size,
        settings=settings,
        run=_run_name(decided, settings),
    )


def _run_name(decided: dict[str, Any], settings: Settings) -> str:
    """Equal for runs that do the same."""
    tables = {name: getattr(settings, name).deciding() for name in ("corpus", "audit")}
    indexes = [index.deciding() for index in settings.index]
    return fingerprint({**decided, **tables, "index": indexes})


def _refuse_misfits(encoder: StoredEncoder, wanted: IndexSettings, part_size: int) -> None:
    """Raise SettingsError where an index over the column cannot be made."""
    if isinstance(encoder.card, EncoderCard):
        refuse_misfits(wanted, encoder.card.dim, part_size)
        require_faiss("exact" if wanted.kind == "auto" else wanted.kind)
    else:
        refuse_vector_settings(wanted)


def _refuse_unknown(settings: Settings) -> None:
    """Raise SettingsError where an index is wanted over a column that nothing makes."""
    names = [encoder.name for encoder in settings.encoder]
    for index in settings.index:
        if index.of not in names:
            raise SettingsError(
                f"[[index]] of = {index.of!r}, and no [[encoder]] is called so.",
                f"There are: {', '.join(names)}.",
            )


def _following(settings: Settings, base: Published | None) -> Settings:
    """[[index]], [audit] and further encoders are the index's own where nothing else is asked
    for."""
    if base is None:
        return settings
    own = {
        "encoder": (settings.dense, *further_settings(base.version, settings)),
        "index": index_settings(base.version, settings),
        "audit": audit_settings(base.version, settings.audit),
    }
    return settings.model_copy(update=own)


def _refuse_overlap(corpus: str, path: str) -> None:
    if contains(corpus, path):
        raise InputError(
            f"INDEX {path} lies inside CORPUS {corpus}: the next run would read its own files.",
            "Choose an INDEX outside, or name the corpus's files.",
        )


def _recipe(settings: Settings, card: EncoderCard) -> Recipe:
    """Equal for settings that act alike."""
    limit = passage_limit(settings.passages, card)
    return Recipe(
        encoder=card.fingerprint,
        tokeniser=card.tokeniser_fingerprint,
        stored=settings.dense.stored,
        split=settings.passages.split,
        max_tokens=limit,
        overlap=passage_overlap(settings.passages, limit),
    )


def index(context: Context, plan: IndexPlan) -> Published:
    """Run the flow; what an earlier run finished is not done again.

    Raises:
        InputError: no document would be left in the index, no row of a file can be read, no file
            has a column that the settings name, or the encoder gives nothing finite.
        GateRefused: the version would differ too much from the one before it.
        AuditRefused: the index does not reach the audit's target.
        CommitConflict: another run published meanwhile.
        RunFailed: some units failed; rerun to resume.
    """
    _refuse_reembedding(plan, context.settings)
    if not plan.base:
        hold(context.workspace, plan.card)
    gate = context.settings.gate
    night = _compare(context, plan)
    night.refuse(night.expected(), gate)
    made = _make(context, plan, night.compared)
    # A snapshot is all there is, so what cannot be indexed is gone; an upsert keeps what it had.
    spared = made.late if plan.mode == "upsert" else []
    stored = delete(context, plan.stored, night.compared, spared) if plan.reuse else []
    changes = night.changes(context.workspace, made)
    try:
        _require_documents(plan, changes, [*stored, *made.parts], made)
        night.refuse(changes, gate)
        refuse_broken_parts(plan.dense, made.embedded)
        refuse_collapsed(stored, made.parts, gate)
    except (GateRefused, InputError):
        # What an encoder gone wrong has made must not be found again by the run after its repair.
        context.workspace.forget("embed", made.embedded)
        raise
    stored = with_columns(context, _without(stored, plan.replaced), plan.further)
    new = with_columns(context, made.parts, plan.further)
    assembled = assemble(context, _material(context.settings, plan, stored, new))
    names = {*plan.names, *names_of(night.scans), *plan.met}
    version = _version(
        context, plan, changes, assembled, tuple(named(names, context.settings.corpus))
    )
    published = publish(context.workspace, version)
    # What could not be embedded tonight is tried again by the next run that finds it.
    context.workspace.forget("embed", [d for d in made.embedded if d.counts.get("rejected")])
    return published


def _compare(context: Context, plan: IndexPlan) -> Night:
    keep_listing(context, plan.listing)
    scans = scan(context, plan.slices)
    set_aside(context, "scan", scans)
    refuse_unreadable(plan.slices, scans, Sources(context.settings.s3))
    if total(scans, "rows"):
        refuse_absent(plan.names | names_of(scans), context.settings.corpus, plan.met)
    sides = Sides(plan.slices, scans, plan.stored, plan.mode, plan.reuse is not None)
    compared = compare_corpus(context, sides)
    set_aside(context, "compare", compared.dones)
    return Night(plan.stored, plan.mode, bool(plan.differs), scans, compared)


def _make(context: Context, plan: IndexPlan, compared: Compared) -> Made:
    ingested = ingest(context, plan.slices, compared, Cutting(plan.card, plan.part_size))
    set_aside(context, "ingest", ingested)
    files = [part for done in ingested for part in done.made.parts]
    _refuse_codec(plan, sum(part.passages.rows for part in files))
    embedded = embed(context, files, plan.dense)
    set_aside(context, "embed", embedded)
    return Made(ingested, embedded, [done.made.part for done in embedded])


def _refuse_codec(plan: IndexPlan, new: int) -> None:
    """Raise SettingsError where no index can be made of so many passages, before any is embedded.

    What is deleted tonight still counts here, so that only what fails in any case is refused.
    """
    settings = plan.settings.index_of(DENSE)
    passages = new + sum(part.live.passages for part in plan.stored if plan.reuse)
    base = plan.reuse.index if plan.reuse else None
    if base and (settings.kind == "auto" or serving_codec(base, settings, passages)):
        return
    require_faiss(plan_codec(settings, passages, plan.card.dim).kind)


def _without(parts: Sequence[Part], columns: Sequence[str]) -> list[Part]:
    """The parts without some of their columns."""
    return [
        replace(part, columns={n: c for n, c in part.columns.items() if n not in columns})
        for part in parts
    ]


def _material(
    settings: Settings, plan: IndexPlan, stored: Sequence[Part], new: Sequence[Part]
) -> Material:
    limits = Limits.nightly(settings.compact, plan.part_size)
    return Material(plan.reuse, stored, new, plan.encoders, limits)


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
        columns={encoder.name: encoder for encoder in plan.encoders},
        indexes=assembled.indexes,
        recipe=plan.recipe,
        part_size=plan.part_size,
        changes=changes,
        made=replace(made_now("index", context.run), corpus=plan.corpus, columns=columns),
    )


def _refuse_reembedding(plan: IndexPlan, settings: Settings) -> None:
    differs = [*plan.differs, *(f"the encoder {name!r}" for name in plan.replaced)]
    if differs and plan.base and not settings.gate.reembed:
        passages = plan.base.version.live.passages
        raise GateRefused(
            f"{', '.join(differs)} changed since version {plan.base.number:06d}: all of its "
            f"{passages:,} passages would be embedded anew.",
            "Restore the setting, or allow it for this run: --set gate.reembed=true. Readers keep "
            "the old version meanwhile.",
        )


def _require_documents(
    plan: IndexPlan, changes: Changes, parts: Sequence[Part], made: Made
) -> None:
    if any(part.live.documents for part in parts):
        return
    refuse_broken_parts(plan.dense, made.embedded)
    if plan.stored:
        raise InputError(
            f"{plan.corpus} would delete all documents of the index.",
            "An index holds at least one; start a new one elsewhere.",
        )
    raise InputError(
        f"{plan.corpus} has {changes.rows} rows, and none can be indexed.",
        "The rejected table under runs/ says why, row by row."
        if changes.rejected
        else "It is empty.",
    )
