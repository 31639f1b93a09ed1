"""How often a language model is asked about a query's list, and how much it reads and writes."""

from dataclasses import dataclass

from shardrank.core.reranker_settings import (
    AnswerSettings,
    GroupwiseSettings,
    ListwiseSettings,
    SetwiseSettings,
)
from shardrank.orders.groups import Groups
from shardrank.orders.sets import most_calls as most_sets
from shardrank.orders.windows import Windows

#: Tokens of a prompt without its query and passages, and of an identifier, by SmolLM2's tokeniser:
#: shardrank's own prompts have 70 to 110, rank-zephyr 145, rank-r1 180, and grouprank 490.
PROMPT_TOKENS, NAME_TOKENS = 150, 6


@dataclass(frozen=True)
class Asked:
    """What a list costs.

    Attributes:
        calls: of the model, at most.
        passages: that these show together, at most; one that is shown twice counts twice.
        named: identifiers that the model writes, at most.
    """

    calls: int
    passages: int
    named: int


@dataclass(frozen=True)
class Tokens:
    """About how many tokens a model reads in prompts, and at most writes."""

    read: int
    written: int


def most_asked(settings: AnswerSettings, n: int) -> Asked:
    """What a query of n passages costs a reranker with these settings. No list costs more; only
    setwise may need fewer calls, as its answers have it."""
    if isinstance(settings, ListwiseSettings):
        return _windows(settings, n)
    if isinstance(settings, SetwiseSettings):
        return _sets(settings, n)
    if isinstance(settings, GroupwiseSettings):
        calls = Groups(settings.group, settings.passes).calls(n)
        return Asked(calls, n * settings.passes, n * settings.passes)
    raise TypeError(settings.family)


def most_tokens(settings: AnswerSettings, n: int, query: int, passage: int) -> Tokens:
    """About how many tokens that is, for a query and passages of so many each."""
    asked = most_asked(settings, n)
    shown = min(passage, settings.passage_tokens) + NAME_TOKENS
    return Tokens(
        read=asked.calls * (PROMPT_TOKENS + query) + asked.passages * shown,
        written=asked.calls * settings.reasoning_tokens + asked.named * NAME_TOKENS,
    )


def _windows(settings: ListwiseSettings, n: int) -> Asked:
    cut = Windows(settings.window, settings.stride, settings.passes)
    sizes = [len(window) for window in cut.windows(n) if len(window) > 1]
    named = sum(sizes) if settings.answer == "generated" else 0
    return Asked(len(sizes), sum(sizes), named)


def _sets(settings: SetwiseSettings, n: int) -> Asked:
    calls = most_sets(settings.sort, n, settings.top, settings.children)
    shown = min(n, 1 + settings.children)
    return Asked(calls, calls * shown, calls if settings.answer == "generated" else 0)
