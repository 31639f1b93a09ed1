"""How often a reranker of lists is asked, and about how much it reads: arithmetic for plans."""

from dataclasses import dataclass

from shardrank.core.reranker_settings import AttentionSettings, EnrichedSettings

#: Tokens of a prompt beside its passages, about, and of a passage's name and the lines around it.
_PROMPT, _NAME = 60, 6


@dataclass(frozen=True)
class Calls:
    """What a query's list costs.

    Attributes:
        calls: inputs that the model is given.
        tokens: of all of them, about; what two begin with is counted once.
    """

    calls: int
    tokens: int


def most_calls(settings: AttentionSettings | EnrichedSettings, passages: int, each: int) -> Calls:
    """For a list of so many passages of `each` tokens, on average; a list of none costs nothing."""
    if not passages:
        return Calls(0, 0)
    if isinstance(settings, AttentionSettings):  # the end again, with a query without content
        return Calls(2, _listed(settings, passages, each) + _PROMPT)
    first = min(passages, settings.passages)
    return Calls(1 + passages, _listed(settings, first, each) + passages * each)


def _listed(settings: AttentionSettings | EnrichedSettings, passages: int, each: int) -> int:
    """Tokens of a prompt with so many passages."""
    whole = _PROMPT + passages * (_NAME + min(each, settings.passage_tokens))
    return min(whole, settings.max_tokens or whole)
