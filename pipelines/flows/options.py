"""Settings as they are given: an object or a TOML file, and `table.key=value` over it."""

import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from shardrank.core.errors import SettingsError
from shardrank.core.index_settings import AuditSettings
from shardrank.core.overrides import parse_settings
from shardrank.core.settings import LabelSettings, Settings
from shardrank.core.settings_base import SettingsTable
from shardrank.core.written_settings import WrittenSettings

Table = TypeVar("Table", bound=SettingsTable)

#: Names of models that are no folders, even where a folder is called so.
NO_FOLDER = ("embedded", "off")
TEACHERS = ("embedded", "reranker", "retrieval")


def load_settings(given: Settings | str | Path | None, overrides: Sequence[str] = ()) -> Settings:
    """The given tables, of an object or of a TOML file, then the overrides, over the defaults.

    Raises:
        SettingsError: no such file, no TOML, or a setting that is unknown or wrong.
    """
    settings = _parsed(given, list(overrides))
    return settings.model_copy(
        update={
            "encoder": tuple(_found(each) for each in settings.encoder),
            "reranker": tuple(_found(each) for each in settings.reranker),
            "label": _taught(settings.label),
            "audit": _placed(settings.audit),
        }
    )


def _parsed(given: Settings | str | Path | None, overrides: list[str]) -> Settings:
    if isinstance(given, Settings):
        return parse_settings(_tables(given), overrides)
    return parse_settings(_read(Path(given)) if given is not None else {}, overrides)


def _tables(given: Settings) -> dict[str, Any]:
    """What was not set stays unset: a model that nobody named asks for none."""
    tables = given.model_dump(exclude_unset=True)
    if encoders := tables.get("encoder"):
        # An encoder's class says its family, which is not set then.
        both = zip(given.encoder, encoders, strict=True)
        tables["encoder"] = [{"family": each.family, **table} for each, table in both]
    return tables


def _found(table: Table) -> Table:
    """With its models' folders, and the prompt of what a version's texts are written by, in full. A
    model that is not named stays unset: it asks for none."""
    named = {name: getattr(table, name, None) for name in ("model", "filter_model")}
    found = {name: _absolute(model, NO_FOLDER) for name, model in named.items() if model}
    if isinstance(table, WrittenSettings) and table.prompt.endswith((".yaml", ".yml")):
        found["prompt"] = str(Path(table.prompt).absolute())
    changed = {name: value for name, value in found.items() if value != getattr(table, name)}
    return table.model_copy(update=changed) if changed else table


def _taught(label: LabelSettings) -> LabelSettings:
    if "teachers" not in label.model_fields_set:
        return label
    teachers = tuple(_absolute(name, TEACHERS) for name in label.teachers)
    return label.model_copy(update={"teachers": teachers})


def _placed(audit: AuditSettings) -> AuditSettings:
    """The questions' path in full: a later command asks them again, from another folder."""
    path = audit.query_file
    if path is None or "://" in path:
        return audit
    return audit.model_copy(update={"query_file": str(Path(path).expanduser().absolute())})


def _absolute(model: str, no_folder: Collection[str]) -> str:
    """A local model's folder in full: workers and later commands have other working folders."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if model not in no_folder and folder.is_dir() else model


def _read(config: Path) -> dict[str, object]:
    try:
        return tomllib.loads(config.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {config} cannot be read: {error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {config} is not TOML: {error}.") from None
