"""Settings that belong to an index, taken from its version by whoever works on it later."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from shardrank.core.cards import Halved
from shardrank.core.errors import SettingsError
from shardrank.core.index_settings import AuditSettings, BackfillSettings, IndexSettings
from shardrank.core.late_settings import LateSettings
from shardrank.core.model_settings import ColumnSettings, EncoderSettings
from shardrank.core.passage_settings import PassageSettings
from shardrank.core.settings import Settings
from shardrank.core.views_settings import ViewsSettings
from shardrank.version.manifest import StoredEncoder, Version

#: Taken from the run and never from the index: who runs it decides about speed, and whether code
#: that came with a stranger's model may run.
_ASKED_ANEW = ("batch_tokens", "batch_images", "trust_remote_code")

#: Where a model is, which may be elsewhere by now: its fingerprint says whether it is the same.
_WHERE = ("model", "revision")

#: Values that ask for nothing: what the model or the index has.
_AS_IT_IS = (None, "auto")


def runs_in_bf16(version: Version) -> bool:
    """Whether the index's encoder does, so that rerankers with dtype = "auto" may."""
    return version.dense.card.dtype == "bf16"


def index_encoder(version: Version, wanted: EncoderSettings) -> EncoderSettings:
    """The index's own encoder settings, at the place where the model is wanted from.

    Whoever loads that model checks its fingerprint.

    Raises:
        SettingsError: another setting is asked for than the index's.
    """
    built = _stored_encoder(version, wanted)
    _refuse_others("encoder", built, _asked(wanted, but=(*_ASKED_ANEW, *_WHERE)))
    return built.model_copy(update=_place(built, wanted))


def kept_encoder(version: Version, wanted: EncoderSettings) -> EncoderSettings:
    """The index's own encoder settings, for work that loads no model.

    Raises:
        SettingsError: another model or setting is asked for than the index's.
    """
    built = _stored_encoder(version, wanted)
    _refuse_others("encoder", built, _asked(wanted, but=_ASKED_ANEW))
    return built


def night_encoder(made: StoredEncoder, wanted: ColumnSettings | None) -> ColumnSettings:
    """The settings that a column was made with, and over them what is set; another family is
    another encoder."""
    held = _own(made)
    if wanted is None:
        return held
    if wanted.family != held.family:
        return wanted
    anew = {name: getattr(wanted, name) for name in _ASKED_ANEW if hasattr(wanted, name)}
    place = _place(held, wanted) if hasattr(wanted, "model") else {}
    asked = wanted.model_dump(exclude_unset=True)
    return type(held)(**{**held.model_dump(), **asked, **anew, **place})


def passage_settings(version: Version, wanted: PassageSettings) -> PassageSettings:
    """How the version's documents were cut, and over it what is set.

    What is no other than the default was not set: another encoder has other defaults.

    Raises:
        SettingsError: what is set does not go with what is kept.
    """
    recipe, default = version.recipe, PassageSettings()
    held: dict[str, Any] = {"split": recipe.split, "by": recipe.by, "markup": recipe.markup}
    given = wanted.model_dump(exclude_unset=True)
    if recipe.sentence_model and given.get("by", recipe.by) == recipe.by:
        held["sentence_model"] = recipe.sentence_model
    if recipe.max_tokens != version.dense.card.max_tokens:
        held["max_tokens"] = recipe.max_tokens
    if recipe.overlap != default.overlap_of(recipe.max_tokens):
        held["overlap"] = recipe.overlap
    try:
        return PassageSettings(**{**held, **given})
    except SettingsError as error:
        raise SettingsError(error.message, _told_kept(held, given)) from error


def _told_kept(held: dict[str, Any], given: dict[str, Any]) -> str:
    """Which of an index's [passages] must be set, too, for others to be."""
    default = PassageSettings().model_dump()
    back = {n: default[n] for n in held if n not in given and held[n] != default[n]}
    for name in tuple(back):
        less = {n: value for n, value in back.items() if n != name}
        if _agree({**held, **given, **less}):
            back = less
    kept = " and ".join(f"passages.{n} = {str(held[n]).lower()}" for n in back)
    sets = " ".join(f"--set passages.{n}={str(value).lower()}" for n, value in back.items())
    names = ", ".join(f"passages.{name}" for name in given)
    return (
        f"The index has {kept}, and what is not set stays: give {sets}, too, or leave out {names}."
    )


def _agree(values: dict[str, Any]) -> bool:
    try:
        PassageSettings(**values)
    except SettingsError:
        return False
    return True


def index_settings(version: Version, wanted: Settings) -> tuple[IndexSettings, ...]:
    """The [[index]] settings that the version was made from, and over them what is asked for."""
    names = dict.fromkeys([*version.columns, *(index.of for index in wanted.index)])
    return tuple(_index_settings(version, wanted, name) for name in names)


def _index_settings(version: Version, wanted: Settings, name: str) -> IndexSettings:
    built, asked = version.indexes.get(name), wanted.index_of(name)
    if _of_another_family(version, wanted, name):
        return asked
    if built is None and asked not in wanted.index:  # its column has none, and shall have none
        return IndexSettings(of=name, kind="none")
    given = asked.model_dump(exclude_unset=True)
    if given.get("kind") == "none":
        return IndexSettings(of=name, kind="none")
    kept = built.settings.deciding() if built else {}
    return IndexSettings(**{**kept, **given})


def _of_another_family(version: Version, wanted: Settings, name: str) -> bool:
    """Whether the column shall be of another family than it is, so that nothing of its index's
    settings holds."""
    asked = next((each for each in wanted.further if each.name == name), None)
    held = version.columns.get(name)
    return bool(asked and held and asked.family != held.settings.family)


def kept_indexes(version: Version, wanted: Settings) -> tuple[IndexSettings, ...]:
    """The [[index]] settings that the version was made from.

    Raises:
        SettingsError: others are asked for, or an index that it has not.
    """
    for index in wanted.index:
        if index.of not in version.indexes:
            raise SettingsError(
                f"The version has no index over {index.of!r}.", _known(version.indexes)
            )
    return tuple(_kept_index(version, wanted.index_of(name)) for name in version.columns)


def _kept_index(version: Version, wanted: IndexSettings) -> IndexSettings:
    index = version.indexes.get(wanted.of)
    if index is None:
        return IndexSettings(of=wanted.of, kind="none")
    _refuse_others("index", index.settings, _asked(wanted))
    return index.settings


def _known(names: Iterable[str]) -> str:
    return f"It has: {', '.join(names)}."


def further_encoders(version: Version, wanted: Settings) -> list[StoredEncoder]:
    """The version's encoders beside the first, by name, at the places where models are wanted from.

    Whoever loads such a model checks its fingerprint.

    Raises:
        SettingsError: another setting is asked for than the index's, or an encoder that it has not.
    """
    asked = {each.name: each for each in wanted.further}
    for name in asked:
        if name not in version.columns:
            raise SettingsError(
                f"The version has no column {name!r}.",
                f"{_known(version.columns)} Index again with this encoder to add it.",
            )
    return [_placed(made, asked.get(made.name)) for made in version.further]


def _own(made: StoredEncoder) -> ColumnSettings:
    """A further encoder's settings, of which nothing is left that only who runs it may decide."""
    fields = type(made.settings).model_fields
    anew = {name: fields[name].default for name in _ASKED_ANEW if name in fields}
    return made.settings.model_copy(update=anew)


def _placed(made: StoredEncoder, wanted: ColumnSettings | None) -> StoredEncoder:
    held = _own(made)
    halved = isinstance(held, EncoderSettings | LateSettings | ViewsSettings)
    if halved and isinstance(made.card, Halved):
        held = held.model_copy(update={"dtype": made.card.dtype})  # whatever this machine can do
    if wanted is None:
        return replace(made, settings=held)
    anew = [name for name in _ASKED_ANEW if hasattr(wanted, name)]
    built = held.model_copy(update={name: getattr(wanted, name) for name in anew})
    _refuse_others("encoder", built, _asked(wanted, but=(*_ASKED_ANEW, *_WHERE)))
    if not hasattr(wanted, "model"):
        return replace(made, settings=built)
    return replace(made, settings=built.model_copy(update=_place(built, wanted)))


def audit_settings(version: Version, wanted: AuditSettings) -> AuditSettings:
    """The [audit] settings that the version was audited with, and over them what is asked for."""
    return AuditSettings(
        **{**version.index.audit_settings.deciding(), **wanted.model_dump(exclude_unset=True)}
    )


def backfill_settings(version: Version, wanted: BackfillSettings) -> BackfillSettings:
    """The [backfill] settings of the backfill that goes on, if one does, and over them what is
    asked for."""
    held = version.mapped.settings.deciding() if version.mapped else {}
    return BackfillSettings(**{**held, **wanted.model_dump(exclude_unset=True)})


def _stored_encoder(version: Version, wanted: EncoderSettings) -> EncoderSettings:
    now = {name: getattr(wanted, name) for name in _ASKED_ANEW if hasattr(wanted, name)}
    own = {"dtype": version.dense.card.dtype, **now}
    return version.dense.settings.model_copy(update=own)


def _place(built: Any, wanted: Any) -> dict[str, Any]:
    """A revision is one of its model's: named alone it is the index's model's."""
    asked = _asked(wanted)
    moved = asked.get("model", built.model) != built.model
    return {name: getattr(wanted, name) for name in _WHERE if moved or name in asked}


def _asked(wanted: BaseModel, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """What was set on purpose, equal to the default or not."""
    given = wanted.model_dump(exclude_unset=True, exclude=set(but))
    return {name: value for name, value in given.items() if value not in _AS_IT_IS}


def _refuse_others(table: str, built: BaseModel, asked: dict[str, Any]) -> None:
    differing = [name for name, value in asked.items() if getattr(built, name) != value]
    if differing:
        pairs = ", ".join(
            f"{table}.{n} is {getattr(built, n)!r} there and {asked[n]!r} here" for n in differing
        )
        raise SettingsError(
            f"The index was built with other settings: {pairs}.",
            f"Leave them out of [{table}] here, or index again with these.",
        )
