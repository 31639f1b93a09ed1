"""Families of rerankers: how each is read, checked and loaded. A new one is a file and a row here.

A family comes from `family =` in the settings, never from a model's name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from shardrank.core.cards import RerankerCard
from shardrank.core.protocols import ListReranker, Reranker
from shardrank.core.reranker_settings import EnrichedSettings, ListSettings, RerankerSettings
from shardrank.models.cards import read_reranker_card
from shardrank.models.complete import check_reranker
from shardrank.models.enriched_cards import encoder_of, read_enriched
from shardrank.models.notes import cross_notes, enriched_notes
from shardrank.models.rerankers.attention import make_attention
from shardrank.models.rerankers.beside import Beside
from shardrank.models.rerankers.fit import (
    enriched_room,
    list_room,
    refuse_crowded,
    tokens_each,
)
from shardrank.models.rerankers.groupwise import make_groupwise
from shardrank.models.rerankers.language import (
    Language,
    LanguageFamily,
    language_notes,
    language_size,
)
from shardrank.models.rerankers.listwise import make_listwise
from shardrank.models.rerankers.maxsim import read_maxsim
from shardrank.models.rerankers.pairwise import make_pairwise
from shardrank.models.rerankers.pointwise import make_pointwise
from shardrank.models.rerankers.setwise import make_setwise
from shardrank.models.rerankers.terms import read_terms
from shardrank.models.size import ModelSize, cross_size, encoder_size
from shardrank.models.text.prompts import parse_prompt
from shardrank.orders.calls import NAME_TOKENS, PROMPT_TOKENS, shown_together


@dataclass(frozen=True)
class Family:
    """A family of rerankers.

    Attributes:
        read: settings, and what the index has beside it → card. Raises InputError where the model
            is absent, incomplete or not understood.
        load: settings, device, card → a reranker of pairs or lists, as the card says; none: it is
            one of columns, and no model.
        notes: of a folder, what changes nothing and may surprise.
        size: how much the model multiplies and holds.
        room: settings, card, n → tokens that a prompt about n passages leaves to them, to its query
            and to an answer; none: no prompt is about several.
    """

    read: Callable[[Any, Beside], RerankerCard]
    load: Callable[[Any, str, RerankerCard], Any] | None
    notes: Callable[[Any], list[str]]
    size: Callable[[Any], ModelSize]
    room: Callable[[Any, RerankerCard, int], int] | None = None


def reranker_family(settings: RerankerSettings) -> Family:
    """That of a reranker's settings."""
    return _FAMILIES[settings.family]


def read_reranker(settings: RerankerSettings, beside: Beside, n: int) -> RerankerCard:
    """The card of the reranker that the settings name, for lists of up to n passages.

    Raises:
        InputError: the model is absent, incomplete or not understood.
        SettingsError: a setting asks for more than there is, such as a prompt about so many
            passages that not 8 tokens of each fit.
    """
    family = reranker_family(settings)
    card, shown = family.read(settings, beside), shown_together(settings, n)
    if family.room is not None:
        refuse_crowded(settings, card, family.room(settings, card, shown), shown)
    return card


def passage_room(
    settings: ListSettings | EnrichedSettings, card: RerankerCard, n: int, query: int
) -> int:
    """Tokens that a passage has in a prompt about as many of n as one shows, beside a query of so
    many, about."""
    room, shown = reranker_family(settings).room, shown_together(settings, n)
    assert room is not None
    return tokens_each(settings, room(settings, card, shown), shown, query)


def prompt_tokens(settings: RerankerSettings, card: RerankerCard, n: int) -> int:
    """Tokens of a prompt about as many of n passages as one shows, without these, their names and
    its query, as the folder's tokeniser and chat template have it; about, where no prompt is about
    several."""
    room, shown = reranker_family(settings).room, shown_together(settings, n)
    if room is None:
        return PROMPT_TOKENS
    return card.max_tokens - room(settings, card, shown) - shown * NAME_TOKENS


def reads_grades(card: RerankerCard) -> bool:
    """Whether grades are read off the logits behind each passage's name, and none is written."""
    if card.family != "groupwise":
        return False
    return "{rank}" in parse_prompt(card.prompt, frozenset({"groupwise"})).assistant


def reranker_notes(settings: RerankerSettings) -> list[str]:
    """Of the reranker that the settings name, for people; raises as its card does."""
    return [] if settings.off else reranker_family(settings).notes(settings)


def load_reranker(settings: RerankerSettings, device: str, card: RerankerCard) -> Any:
    """The reranker of pairs or lists that the settings name, on a device."""
    load = reranker_family(settings).load
    assert load is not None
    return load(settings, device, card)


def _read_cross(settings: Any, beside: Beside) -> RerankerCard:
    check_reranker(settings)
    return read_reranker_card(settings, beside.halve)


def _load_cross(settings: Any, device: str, card: RerankerCard) -> Reranker:
    from shardrank.models.rerankers.cross import load_reranker as load  # brings torch: a second

    return load(settings, device, card)


def _read_enriched(settings: Any, beside: Beside) -> RerankerCard:
    return read_enriched(settings, beside.halve)


def _load_enriched(settings: Any, device: str, card: RerankerCard) -> ListReranker:
    from shardrank.models.rerankers.enriched import load_enriched  # brings torch: a second

    return load_enriched(settings, device, card)


def _no_model(settings: Any) -> ModelSize:
    """Of a reranker that reads a column."""
    return ModelSize(0, 0)


def _enriched_notes(settings: Any) -> list[str]:
    return enriched_notes(encoder_of(settings))


def _enriched_size(settings: Any) -> ModelSize:
    return encoder_size(encoder_of(settings))


def _language(
    make: Callable[[Any, Language], ListReranker], methods: str, prompt: str, alone: bool
) -> Family:
    """A family of language models: how it asks, by which methods, and by which prompt if need
    be."""
    asks = LanguageFamily(make, frozenset(methods.split()), prompt, alone)
    room = None if alone else partial(list_room, asks)

    def read(settings: Any, beside: Beside) -> RerankerCard:
        return asks.read(settings, beside.halve)

    return Family(read, asks.load, language_notes, language_size, room)


_FAMILIES = {
    "cross": Family(_read_cross, _load_cross, cross_notes, cross_size),
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
    "enriched": Family(
        _read_enriched, _load_enriched, _enriched_notes, _enriched_size, enriched_room
    ),
    "maxsim": Family(read_maxsim, None, lambda settings: [], _no_model),
    "terms": Family(read_terms, None, lambda settings: [], _no_model),
}
