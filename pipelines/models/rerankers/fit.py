"""Whether a prompt about several passages fits a model's input: seen before any of them is read."""

from shardrank.core.cards import RerankerCard
from shardrank.core.errors import SettingsError
from shardrank.core.reranker_settings import EnrichedSettings, LanguageSettings, RerankerSettings
from shardrank.models.enriched_cards import METHODS, query_layout
from shardrank.models.rerankers.language import LanguageFamily
from shardrank.models.rerankers.listed import AskingList
from shardrank.models.text.chat import Chat
from shardrank.models.text.prompts import parse_prompt
from shardrank.models.text.tokens import load_tokeniser
from shardrank.orders.answers import numbers
from shardrank.orders.calls import LEAST_TOKENS, answer_tokens

#: What says how many passages a prompt shows.
_SHOWN_BY = {
    "listwise": "window",
    "setwise": "children",
    "groupwise": "group",
    "attention": "depth",
    "enriched": "passages",
}


def list_room(
    family: LanguageFamily, settings: LanguageSettings, card: RerankerCard, shown: int
) -> int:
    """Tokens that a prompt about so many passages leaves to them, to its query and to an answer."""
    return AskingList.of(family.unloaded(settings, card), LEAST_TOKENS).room(numbers(shown))


def enriched_room(settings: EnrichedSettings, card: RerankerCard, shown: int) -> int:
    """The same, of an encoder's."""
    layout = query_layout(settings)
    tokeniser = load_tokeniser(layout)
    chat, prompt = Chat(layout.transformer, tokeniser), parse_prompt(card.prompt, METHODS)
    asking = AskingList(chat, tokeniser, prompt, card.max_tokens, LEAST_TOKENS)
    return asking.room(numbers(shown)) - len(chat.closing)


def tokens_each(settings: RerankerSettings, room: int, shown: int, query: int) -> int:
    """About how many tokens that is for each of the passages, beside a query of so many."""
    return (room - query - answer_tokens(settings, shown)) // shown


def refuse_crowded(settings: RerankerSettings, card: RerankerCard, room: int, shown: int) -> None:
    """Raises SettingsError where not 8 tokens of each passage fit, even beside an empty query."""
    each = tokens_each(settings, room, shown, 0)
    if each >= LEAST_TOKENS:
        return
    name = _SHOWN_BY.get(settings.family)
    told = f"reranker.{name} = {getattr(settings, name)}, and an" if name else "An"
    fewer = f"Lower reranker.{name}, or raise" if name else "Raise"
    raise SettingsError(
        f"A prompt about {shown} passages has room for {max(0, each)} tokens of each, and "
        f"{LEAST_TOKENS} are the least. {told} input of {card.name} has {card.max_tokens} tokens "
        "at most (reranker.max_tokens).",
        f"{fewer} reranker.max_tokens as far as the model goes, or name a shorter prompt.",
    )
