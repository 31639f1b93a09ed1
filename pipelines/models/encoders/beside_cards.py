"""Cards of encoders that read texts written about passages beside the passages. Imports no
torch."""

from dataclasses import replace
from typing import Any

from shardrank.core.cards import BesideWritten, ColumnCard, Reading, WrittenCard
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.settings_base import SettingsTable

#: Of how both are read together: counted up where their results change.
_REVISION = 1


def beside_written(card: Reading, settings: SettingsTable, source: ColumnCard | None) -> Reading:
    """The encoder's card, of the passages and of what `source` says was written about them, if the
    settings name a column of it.

    Raises:
        SettingsError: that column holds no written texts.
    """
    of: str | None = getattr(settings, "of", None)
    if of is None:
        return card
    if not isinstance(source, WrittenCard):
        raise SettingsError(
            f"[[encoder]] {getattr(settings, 'name', '')!r} of family {card.family} reads {of!r}, "
            "which holds no written texts.",
            "Set of = to the name of an encoder of family written that stands before it.",
        )
    return _with(card, settings, source.fingerprint)


def beside_again(card: Reading, settings: SettingsTable, made: ColumnCard) -> Reading:
    """As `beside_written`, of the texts that a version's column was made with."""
    found: BesideWritten | None = getattr(made, "beside", None)
    return card if found is None else _with(card, settings, found.written)


def _with(card: Reading, settings: SettingsTable, written: str) -> Reading:
    names = ("texts", "written_weight")
    how: dict[str, Any] = {n: getattr(settings, n) for n in names if hasattr(settings, n)}
    name = fingerprint(["beside", _REVISION, card.family, card.fingerprint, written, how])
    return replace(card, fingerprint=name, beside=BesideWritten(card.fingerprint, written))
