"""What decides learnt vectors of many token vectors, known before any is made."""

from shardrank.core.cards import ColumnCard, LearnedCard
from shardrank.core.fingerprint import fingerprint
from shardrank.core.learned_settings import LearnedSettings
from shardrank.models.encoders.token_source import token_source

#: Tokens that a passage has, about, when it is said how many passages are drawn.
_TOKENS_EACH = 16


def read_learned_card(settings: LearnedSettings, source: ColumnCard | None) -> LearnedCard:
    """The card of learnt vectors of a column of token vectors.

    Raises:
        SettingsError: the column holds no token vectors.
    """
    late = token_source(settings, source)
    deciding = [settings.deciding(), late.fingerprint]
    return LearnedCard(settings.name, fingerprint(["learned-1", *deciding]), settings.dim)


def sampled_passages(settings: LearnedSettings) -> int:
    """Passages that are drawn to learn of."""
    return max(settings.passages, 4 * settings.tokens // _TOKENS_EACH)
