"""What a night takes over from its index: the settings that it was made with are its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shardrank.core.cards import ColumnCard, weights_of
from shardrank.core.errors import InputError, ShardrankError
from shardrank.core.model_settings import DENSE, ColumnSettings, made_in_turn
from shardrank.core.settings import Settings
from shardrank.models.encoders.registry import read_again
from shardrank.stages.shared.versions import Published
from shardrank.version.kept_settings import (
    audit_settings,
    backfill_settings,
    index_settings,
    night_encoder,
    passage_settings,
)
from shardrank.version.manifest import StoredEncoder


def following(settings: Settings, base: Published | None) -> Settings:
    """[encoder], [passages], [index] and [audit] are the index's own where nothing else is asked
    for; and [backfill], as long as one goes on."""
    if base is None:
        return settings
    version = base.version
    first = _followed(version.columns[DENSE], settings.dense)
    asked: dict[str, ColumnSettings] = {each.name: each for each in settings.further}
    held = {each.name: _followed(each, asked.get(each.name)) for each in version.further}
    further = made_in_turn({**held, **asked, **held}.values(), lambda each: each)
    own = {
        "encoder": (first, *further),
        "passages": passage_settings(version, settings.passages),
        "index": index_settings(version, settings),
        "audit": audit_settings(version, settings.audit),
        "backfill": backfill_settings(version, settings.backfill),
    }
    return settings.model_copy(update=own)


@contextmanager
def told_whose(settings: Settings, name: str, base: Published | None) -> Iterator[None]:
    """Where the encoder of a column is not found, and the index and nobody else names it, an
    InputError says so."""
    try:
        yield
    except InputError as error:
        asked = any(e.name == name and "model" in e.model_fields_set for e in settings.encoder)
        if asked or base is None or name not in base.version.columns:
            raise
        table = "encoder" if name == DENSE else f"encoder.{name}"
        hint = f"The index was made with it: where it is now says --set {table}.model=…"
        raise InputError(error.message, hint) from error


def _followed(made: StoredEncoder, wanted: ColumnSettings | None) -> ColumnSettings:
    """A column's settings tonight. A model that is named elsewhere and is the same has only moved;
    another one brings its own settings, and nothing is kept of the old one's."""
    kept = night_encoder(made, wanted)
    if wanted is None or wanted.family != made.settings.family:
        return kept
    if _place(kept) == _place(made.settings) or _same_weights(kept, made.card):
        return kept
    return wanted.model_copy(update=_place(kept))


def _place(settings: ColumnSettings) -> dict[str, Any]:
    return {n: getattr(settings, n) for n in ("model", "revision") if hasattr(settings, n)}


def _same_weights(settings: ColumnSettings, made: ColumnCard) -> bool:
    try:
        card = read_again(settings, made, None)
    except ShardrankError:  # settings of the old model need not suit another
        return False
    return weights_of(card) == weights_of(made)
