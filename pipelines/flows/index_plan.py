"""What an index run reads, with which encoders and on which version, known before any work."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from shardrank.core.cards import EncoderCard
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.index_settings import IndexSettings
from shardrank.core.papers import to_json
from shardrank.core.settings import Settings
from shardrank.core.source_files import Listing
from shardrank.corpus.changes import Mode
from shardrank.corpus.named import known_names, refuse_absent
from shardrank.corpus.slices import Slice, plan_files
from shardrank.flows.index_dtype import settle, settle_further
from shardrank.index.library import require_faiss
from shardrank.stages.index.ingest import (
    passage_limit,
    passage_overlap,
)
from shardrank.stages.run.executors import Amount
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import Published, latest_version
from shardrank.storage import Sources, contains
from shardrank.version.kept_settings import audit_settings, further_settings, index_settings
from shardrank.version.manifest import DenseEncoder, Recipe, StoredEncoder, Version
from shardrank.version.parts import Part
from shardrank.version.sizing import (
    TEXT_PER_COMPRESSED_BYTE,
    default_part_size,
    refuse_misfits,
    refuse_vector_settings,
)


@dataclass(frozen=True)
class SourcePlan:
    """What is read.

    Attributes:
        corpus: file, folder or glob, as it was given.
        listing: its files.
        names: columns known before a row is read: of Parquet files, and those of paths.
        slices: pieces of the files.
        bytes: of all files.
    """

    corpus: str
    listing: Listing
    names: Set[str]
    slices: Sequence[Slice]
    bytes: int

    @property
    def text(self) -> int:
        """Bytes of text, about."""
        packed = any(piece.compression or piece.format == "parquet" for piece in self.slices)
        return self.bytes * (TEXT_PER_COMPRESSED_BYTE if packed else 1)


@dataclass(frozen=True)
class IndexPlan:
    """What an index run will read, with which models, on top of which version.

    `differs` names what changed about passages or vectors since the base was made: nothing that
    is stored serves then. `further` are the encoders beside the first. `settings` are the run's.
    """

    source: SourcePlan
    mode: Mode
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
        return Amount(self.source.text, sum(part.live.passages for part in self.stored))

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
    base = latest_version(workspace)
    source = _read_source(corpus, settings, base)
    settings = _following(settings, base)
    card = settle(settings.dense, workspace, base)
    further = [StoredEncoder(settle_further(each, base), each) for each in settings.further]
    recipe = _recipe(settings, card)
    differs = recipe.changed(base.version.recipe) if base else []
    if base and differs and mode == "upsert":
        _refuse_upsert(differs, base)
    stored_size = base.version.part_size if base else default_part_size(source.bytes)
    plan = IndexPlan(
        source=source,
        mode=mode,
        card=card,
        base=base,
        differs=differs,
        recipe=recipe,
        further=further,
        part_size=settings.passages.part_size or stored_size,
        settings=settings,
        run="",
    )
    _refuse_indexes(plan)
    return replace(plan, run=_run_name(plan))


def _read_source(corpus: str, settings: Settings, base: Published | None) -> SourcePlan:
    sources = Sources(settings.s3)
    listing = sources.listing(corpus, settings.corpus.allow_unread)
    files = plan_files(listing.read, sources.open, settings.corpus.slice_bytes)
    names = known_names(files, settings.corpus)
    if all(file.schema is not None for file in files):
        met = base.version.made.columns if base else ()
        refuse_absent(names, settings.corpus, met)
    return SourcePlan(
        corpus=corpus,
        listing=listing,
        names=names,
        slices=[piece for file in files for piece in file.slices],
        bytes=sum(entry.bytes for entry in listing.read),
    )


def _refuse_upsert(differs: Sequence[str], base: Published) -> None:
    raise SettingsError(
        f"{', '.join(differs)} changed since version {base.number}, so every document must be "
        "embedded anew, and an upsert does not hold them all.",
        "Index the whole corpus: --mode snapshot.",
    )


def _run_name(plan: IndexPlan) -> str:
    """Equal for runs that do the same."""
    settings, base = plan.settings, plan.base
    return fingerprint(
        {
            "slices": [to_json(piece) for piece in plan.source.slices],
            "mode": plan.mode,
            "base": base.version.made.attempt if base else None,
            "recipe": to_json(plan.recipe),
            "further": [[e.name, e.card.fingerprint, e.stored] for e in plan.further],
            "part_size": plan.part_size,
            "corpus": settings.corpus.deciding(),
            "audit": settings.audit.deciding(),
            "index": [index.deciding() for index in settings.index],
        }
    )


def _refuse_indexes(plan: IndexPlan) -> None:
    """Raise SettingsError where an index that is asked for cannot be made."""
    for each in plan.encoders:
        _refuse_misfits(each, plan.settings.index_of(each.name), plan.part_size)
    _refuse_unknown(plan.settings)


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
