"""What an index run reads, with which encoders and on which version, known before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shardrank.core.cards import ColumnCard, EncoderCard, LateCard, dim_of
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.index_settings import IndexSettings
from shardrank.core.model_settings import DENSE, ColumnSettings, made_of, reads_pictures
from shardrank.core.papers import to_json
from shardrank.core.settings import Settings
from shardrank.corpus.changes import Mode
from shardrank.flows.backfill import Backfill, plan_backfill
from shardrank.flows.following import following, told_whose
from shardrank.flows.index_dtype import settle, settle_further
from shardrank.flows.index_source import SourcePlan, read_source, refuse_overlap
from shardrank.index.library import require_faiss
from shardrank.stages.index.asked import asked_queries
from shardrank.stages.index.ingest import passage_limit
from shardrank.stages.run.executors import Amount
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.places import Use, refuse_other_use
from shardrank.stages.shared.versions import Published, latest_version
from shardrank.version.differences import cut_differences, encoder_differences
from shardrank.version.indexes import Index
from shardrank.version.manifest import DenseEncoder, Recipe, StoredEncoder, Version
from shardrank.version.parts import Part
from shardrank.version.sizing import (
    default_part_size,
    refuse_misfits,
    refuse_vector_settings,
)
from shardrank.version.token_sizing import refuse_token_misfits


@dataclass(frozen=True)
class IndexPlan:
    """What an index run will read, with which models, on top of which version.

    `differs` says what changed about passages or vectors since the base was made, from what to
    what: nothing that is stored serves then, but for what `backfill` has served through a map.
    `further` are the encoders beside the first. `settings` are the run's, `asked` those that it was
    given.
    """

    source: SourcePlan
    mode: Mode
    card: EncoderCard
    base: Published | None
    differs: Sequence[str]
    backfill: Backfill | None
    recipe: Recipe
    further: Sequence[StoredEncoder]
    part_size: int
    asked: Settings
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
    def begun(self) -> dict[str, ColumnCard]:
        """The cards of the columns that the base has not, by name."""
        held = self.base.version.columns if self.base else {}
        return {each.name: each.card for each in self.encoders if each.name not in held}

    @property
    def dense(self) -> DenseEncoder:
        """The first encoder."""
        return DenseEncoder(self.card, self.settings.dense)

    @property
    def replaced(self) -> Mapping[str, Sequence[str]]:
        """Columns beside the first that tonight's encoders would make otherwise, and what of these
        changed."""
        held = self.base.version.columns if self.base else {}
        both = ((each, held[each.name]) for each in self.further if each.name in held)
        found = {now.name: encoder_differences(before, now) for now, before in both}
        if self.base and self.base.version.mapped and self.backfill and not self.backfill.left:
            found |= {
                each.name: [f"encoder.{each.name} was learnt of vectors that came out of a map"]
                for each in self.further
                if each.made_of == DENSE and each.name in found
            }
        for each in self.further:
            if each.name in found and not found[each.name] and found.get(each.made_of or ""):
                found[each.name] = [f"encoder.{each.name} reads {each.made_of}, which changed"]
        return {name: said for name, said in found.items() if said}

    @property
    def reuse(self) -> Version | None:
        """The version whose parts, codec and shards are kept where they serve."""
        serves = not self.differs or self.backfill
        return self.base.version if self.base and serves else None

    @property
    def due(self) -> Sequence[int]:
        """Parts of the version before of which nothing serves."""
        if self.reuse is None:
            return range(len(self.stored))
        return self.backfill.due if self.backfill else ()

    @property
    def embedded_anew(self) -> Sequence[str]:
        """What changed that has all passages embedded again tonight. What is made of another
        column's values is not: no model runs on passages for it."""
        first = () if self.backfill else self.differs
        derived = {each.name for each in self.further if each.values_of}
        kept = derived if self.backfill else set()
        others = (said for name, said in self.replaced.items() if name not in kept)
        return [*first, *(each for said in others for each in said)]

    def kept_index(self, column: str) -> Index | None:
        """The base's index over a column that serves tonight."""
        reuse, moved = self.reuse, column == DENSE and self.differs
        kept = reuse and not moved and column not in self.replaced
        return reuse.indexes.get(column) if reuse and kept else None


def plan_indexing(corpus: str, workspace: Workspace, mode: Mode, settings: Settings) -> IndexPlan:
    """List the corpus, cut it into slices, read the model's card and the latest version.

    Raises:
        InputError: there is no such corpus or model, a file of it cannot be read or would be left
            out, a column is missing, or the index lies inside the corpus.
        SettingsError: the index's settings suit neither the model nor the parts, or an upsert
            would have to embed documents that it does not hold.
    """
    refuse_overlap(corpus, workspace.storage.root)
    refuse_other_use(workspace.storage.root, Use.INDEX, settings)
    base = latest_version(workspace)
    source = read_source(corpus, settings, base)
    asked, settings = settings, following(settings, base)
    with told_whose(asked, DENSE, base):
        card = settle(settings.dense, workspace, base)
    _refuse_unmade(settings.encoder)
    _refuse_unseen(settings)
    further = _further(asked, settings, workspace, base, card)
    recipe = _recipe(settings, card)
    first = StoredEncoder(card, settings.dense)
    differs = _differs(base.version, first, recipe) if base else []
    same = base is not None and not encoder_differences(base.version.columns[DENSE], first)
    backfill = plan_backfill(base, differs, same, settings.backfill, mode)
    if base and differs and mode == "upsert" and not backfill:
        _refuse_upsert(differs, base)
    stored_size = base.version.part_size if base else default_part_size(source.bytes)
    plan = IndexPlan(
        source=source,
        mode=mode,
        card=card,
        base=base,
        differs=differs,
        backfill=backfill,
        recipe=recipe,
        further=further,
        part_size=settings.passages.part_size or stored_size,
        asked=asked,
        settings=settings,
        run="",
    )
    _refuse_indexes(plan)
    plan = _with_codecs(plan)
    _refuse_few_queries(plan)
    return replace(plan, run=_run_name(plan))


def _further(
    asked: Settings,
    settings: Settings,
    workspace: Workspace,
    base: Published | None,
    first: EncoderCard,
) -> list[StoredEncoder]:
    """The encoders beside the first; each has its codec from the version before, if it is the same
    one and what is stored serves."""
    cards: dict[str, ColumnCard] = {DENSE: first}
    found = []
    for encoder in settings.further:
        of = made_of(encoder)
        with told_whose(asked, encoder.name, base):
            card = settle_further(encoder, workspace, base, cards[of] if of else None)
        cards[encoder.name] = card
        found.append(StoredEncoder(card, encoder))
    return found


def _with_codecs(plan: IndexPlan) -> IndexPlan:
    """Each encoder that made the version's column keeps what it learnt for it."""
    held = plan.reuse.columns if plan.reuse else {}
    same = {name: held[name].codec for name in held if name not in plan.replaced}
    further = [replace(each, codec=same.get(each.name)) for each in plan.further]
    return replace(plan, further=further)


def _refuse_few_queries(plan: IndexPlan) -> None:
    """Raise SettingsError or InputError where an encoder shall learn of queries that are not
    there."""
    for encoder in plan.further:
        if encoder.codec is None:
            asked_queries(encoder, plan.settings)


def _refuse_unmade(encoders: Sequence[ColumnSettings]) -> None:
    """Raise SettingsError where a column is made of one that no encoder before it makes."""
    made: list[str] = []
    for each in encoders:
        of = made_of(each)
        if of is not None and of not in made:
            raise SettingsError(
                f"[[encoder]] {each.name!r} is made of the column {of!r}, which no [[encoder]] "
                "before it makes.",
                f"Before it: {', '.join(made) or 'none'}.",
            )
        made.append(each.name)


def _refuse_unseen(settings: Settings) -> None:
    """Raise SettingsError where an encoder sees pictures, and nothing says where they are."""
    seeing = [each.name for each in settings.encoder if reads_pictures(each)]
    if seeing and settings.corpus.image is None:
        raise SettingsError(
            f"[[encoder]] {seeing[0]!r} is of family image, and no column of pictures is named.",
            "Name it each time that the corpus is read: --set corpus.image=COLUMN.",
        )


def _differs(base: Version, encoder: StoredEncoder, recipe: Recipe) -> list[str]:
    cut = cut_differences(base.recipe, recipe)
    return [*encoder_differences(base.columns[DENSE], encoder), *cut]


def _refuse_upsert(differs: Sequence[str], base: Published) -> None:
    raise SettingsError(
        f"Changed since version {base.number:06d}: {'; '.join(differs)}. So every document must "
        "be embedded anew, and an upsert does not hold them all.",
        "Leave out what the index was made with, or index the whole corpus: --mode snapshot.",
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
            "backfill": settings.backfill.deciding() if plan.backfill else None,
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
    if wanted.kind == "none" and encoder.name == DENSE:
        raise SettingsError(
            f"index.{DENSE}.kind = none, and the first column needs an index.",
            "Take exact, which has no files.",
        )
    if isinstance(encoder.card, LateCard):
        refuse_token_misfits(wanted, encoder.card, part_size)
    elif wanted.kind == "plaid":
        raise SettingsError(
            f"index.{encoder.name}.kind = plaid, and the column {encoder.name!r} holds no token "
            "vectors.",
            "Leave it out; plaid is over a column whose encoder has family = late.",
        )
    elif wanted.kind != "none" and (dim := dim_of(encoder.card)):
        refuse_misfits(wanted, dim, part_size)
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


def _recipe(settings: Settings, card: EncoderCard) -> Recipe:
    """Equal for settings that act alike."""
    limit = passage_limit(settings.passages, card)
    return Recipe(
        encoder=card.fingerprint,
        tokeniser=card.tokeniser_fingerprint,
        stored=settings.dense.stored,
        split=settings.passages.split,
        max_tokens=limit,
        overlap=settings.passages.overlap_of(limit),
        by=settings.passages.by,
        markup=settings.passages.markup,
        rules=settings.passages.rules,
    )
