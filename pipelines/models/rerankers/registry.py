"""Families of rerankers: how each is read, checked and loaded. A new one is a file and a row here.

A family comes from `family =` in the settings, never from a model's name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shardrank.core.cards import RerankerCard
from shardrank.core.protocols import ListReranker, Reranker
from shardrank.core.reranker_settings import RerankerSettings
from shardrank.models.cards import read_reranker_card
from shardrank.models.complete import check_reranker
from shardrank.models.enriched_cards import encoder_of, read_enriched
from shardrank.models.notes import cross_notes, enriched_notes
from shardrank.models.rerankers.attention import make_attention
from shardrank.models.rerankers.groupwise import make_groupwise
from shardrank.models.rerankers.language import (
    Language,
    LanguageFamily,
    language_notes,
    language_parameters,
)
from shardrank.models.rerankers.listwise import make_listwise
from shardrank.models.rerankers.pairwise import make_pairwise
from shardrank.models.rerankers.pointwise import make_pointwise
from shardrank.models.rerankers.setwise import make_setwise
from shardrank.models.size import cross_parameters, encoder_parameters


@dataclass(frozen=True)
class Family:
    """A family of rerankers.

    Attributes:
        read: settings, and whether dtype = "auto" may mean bf16 → card. Raises InputError where
            the model is absent, incomplete or not understood.
        load: settings, device, card → a reranker of pairs or lists, as the card says.
        notes: of a folder, what changes nothing and may surprise.
        parameters: that a token is multiplied with.
    """

    read: Callable[[Any, bool], RerankerCard]
    load: Callable[[Any, str, RerankerCard], Any]
    notes: Callable[[Any], list[str]]
    parameters: Callable[[Any], int]


def reranker_family(settings: RerankerSettings) -> Family:
    """That of a reranker's settings."""
    return _FAMILIES[settings.family]


def reranker_notes(settings: RerankerSettings) -> list[str]:
    """Of the reranker that the settings name, for people; raises as its card does."""
    return [] if settings.model == "off" else reranker_family(settings).notes(settings)


def _read_cross(settings: Any, halve: bool) -> RerankerCard:
    check_reranker(settings)
    return read_reranker_card(settings, halve)


def _load_cross(settings: Any, device: str, card: RerankerCard) -> Reranker:
    from shardrank.models.rerankers.cross import load_reranker  # brings torch: a second

    return load_reranker(settings, device, card)


def _load_enriched(settings: Any, device: str, card: RerankerCard) -> ListReranker:
    from shardrank.models.rerankers.enriched import load_enriched  # brings torch: a second

    return load_enriched(settings, device, card)


def _enriched_notes(settings: Any) -> list[str]:
    return enriched_notes(encoder_of(settings))


def _enriched_parameters(settings: Any) -> int:
    return encoder_parameters(encoder_of(settings))


def _language(
    make: Callable[[Any, Language], ListReranker], methods: str, prompt: str, alone: bool
) -> Family:
    """A family of language models: how it asks, by which methods, and by which prompt if need
    be."""
    asks = LanguageFamily(make, frozenset(methods.split()), prompt, alone)
    return Family(asks.read, asks.load, language_notes, language_parameters)


_FAMILIES = {
    "cross": Family(_read_cross, _load_cross, cross_notes, cross_parameters),
    "pointwise": _language(
        make_pointwise, "pointwise query_likelihood query_and_document", "relevance", alone=True
    ),
    "listwise": _language(
        make_listwise, "singleturn_listwise multiturn_listwise", "order", alone=False
    ),
    "setwise": _language(make_setwise, "setwise", "best-of-set", alone=False),
    "groupwise": _language(make_groupwise, "groupwise", "grades", alone=False),
    "pairwise": _language(make_pairwise, "pairwise", "better-of-two", alone=False),
    "attention": _language(make_attention, "in_context", "in-context", alone=False),
    "enriched": Family(read_enriched, _load_enriched, _enriched_notes, _enriched_parameters),
}
