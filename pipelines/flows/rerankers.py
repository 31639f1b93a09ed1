"""Rerankers as a version's columns let them be."""

from shardrank.core.cards import RerankerCard
from shardrank.core.reranker_settings import RerankerSettings
from shardrank.core.settings import Settings
from shardrank.flows.retrievers import require_same_model
from shardrank.models.rerankers.beside import Beside, HeldColumn
from shardrank.models.rerankers.registry import read_reranker, reranker_family
from shardrank.stages.rank.rerank_plan import PlannedReranker
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
    return PlannedReranker(each, card, _asking(card, version, settings))


def plan_teacher_model(
    each: RerankerSettings, version: Version, settings: Settings
) -> PlannedReranker:
    """One that judges lists of any length: its windows are as large as they are set."""
    each = each.model_copy(update={"depth": ANY_DEPTH})
    card = reranker_family(each).read(each, _beside(version))
    return PlannedReranker(each, card, _asking(card, version, settings))


def _beside(version: Version) -> Beside:
    columns = {name: _held(made) for name, made in version.columns.items()}
    return Beside(runs_in_bf16(version), columns)


def _held(made: StoredEncoder) -> HeldColumn:
    return HeldColumn(made.card, made.codec.sha256 if made.codec else "")


def _asking(card: RerankerCard, version: Version, settings: Settings) -> StoredEncoder | None:
    """What makes the queries' values for a reranker of a column."""
    if card.reads is None:
        return None
    found = {each.name: each for each in further_encoders(version, settings)}
    require_same_model(found[card.reads.name], version)
    return found[card.reads.name]
