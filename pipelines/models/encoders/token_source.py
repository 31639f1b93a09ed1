"""Columns that are made of a column of token vectors."""

from shardrank.core.cards import ColumnCard, LateCard
from shardrank.core.errors import SettingsError
from shardrank.core.learned_settings import LearnedSettings
from shardrank.core.muvera_settings import MuveraSettings


def token_source(settings: MuveraSettings | LearnedSettings, source: ColumnCard | None) -> LateCard:
    """The card of the token vectors. Raises SettingsError where the column holds none."""
    if isinstance(source, LateCard):
        return source
    raise SettingsError(
        f"[[encoder]] {settings.name!r} is made of {settings.of!r}, which holds no token vectors.",
        "Set of = to the name of an encoder of family late that stands before it.",
    )
