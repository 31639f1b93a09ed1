"""Rerankers as a version's columns let them be."""

from shardrank.core.cards import RerankerCard
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.papers import to_json
from shardrank.core.reranker_settings import RerankerSettings, TermsSettings
from shardrank.core.settings import Settings
from shardrank.flows.retrievers import require_same_model
from shardrank.index.bm25 import Bm25
from shardrank.models.rerankers.beside import Beside, HeldColumn
from shardrank.models.rerankers.registry import read_reranker, reranker_family
from shardrank.stages.rank.rerank_plan import Counted, PlannedReranker
from shardrank.version.kept_settings import further_encoders, runs_in_bf16
from shardrank.version.manifest import StoredEncoder, Version

#: More than any list has.
ANY_DEPTH = (1 << 31) - 1


def plan_rerankers(version: Version, settings: Settings) -> list[PlannedReranker]:
    """Those that the settings name, in their order.

    Raises:
        InputError, SettingsError: as `read_reranker`; or the queries' encoder of a column that one
            of them reads is not the one that made it.
    """
    return [plan_reranker(each, version, settings) for each in settings.rerankers]


def plan_reranker(each: RerankerSettings, version: Version, settings: Settings) -> PlannedReranker:
    """One of them."""
    card = read_reranker(each, _beside(version), min(each.depth, settings.search.k))
    return _planned(each, card, version, settings)


def plan_teacher_model(
    each: RerankerSettings, version: Version, settings: Settings
) -> PlannedReranker:
    """One that judges lists of any length: its windows are as large as they are set."""
    each = each.model_copy(update={"depth": ANY_DEPTH})
    card = reranker_family(each).read(each, _beside(version))
    return _planned(each, card, version, settings)


def _planned(
    each: RerankerSettings, card: RerankerCard, version: Version, settings: Settings
) -> PlannedReranker:
    counted = _counted(each, version) if isinstance(each, TermsSettings) else None
    return PlannedReranker(each, card, _asking(card, version, settings), counted)


def _beside(version: Version) -> Beside:
    columns = {name: _held(made, version) for name, made in version.columns.items()}
    return Beside(runs_in_bf16(version), columns)


def _held(made: StoredEncoder, version: Version) -> HeldColumn:
    index = version.indexes.get(made.name)
    counts = to_json(index.counts) if index and index.counts else None
    return HeldColumn(
        made.card,
        made.codec.sha256 if made.codec else "",
        "" if counts is None else fingerprint(counts),
    )


def _counted(settings: TermsSettings, version: Version) -> Counted | None:
    """How the words of a column that counts them are weighted: as its index has it."""
    if version.columns[settings.of].card.family != "bm25":
        return None
    index = version.indexes.get(settings.of)
    if index is None or index.counts is None:
        raise SettingsError(
            f"[[reranker]] of family terms reads {settings.of!r}, which counts words, and the "
            "version has no index over it, which says how rare they are.",
            f"Index again with [[index]] of = {settings.of!r}, or name a column of family sparse.",
        )
    average = index.counts.words / max(1, index.counts.passages)
    return Counted(index.counts, Bm25(settings.k1, settings.b, average))


def _asking(card: RerankerCard, version: Version, settings: Settings) -> StoredEncoder | None:
    """What makes the queries' values for a reranker of a column."""
    if card.reads is None:
        return None
    found = {each.name: each for each in further_encoders(version, settings)}
    require_same_model(found[card.reads.name], version)
    return found[card.reads.name]
