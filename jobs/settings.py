"""Settings from a TOML file and --set."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pipelines.core.errors import SettingsError
from pipelines.core.overrides import parse_settings
from pipelines.core.settings import EncoderSettings, RerankerSettings, Settings

#: Names of models that are no folders, even where a folder is called so.
NO_FOLDER = ("embedded", "off")

ModelTable = TypeVar("ModelTable", EncoderSettings, RerankerSettings)


def load_settings(config: Path | None, overrides: list[str] | None) -> Settings:
    """The file's tables, then the overrides, over the defaults.

    Raises:
        SettingsError: no such file, no TOML, or a setting that is unknown or wrong.
    """
    settings = parse_settings(_read(config) if config else {}, overrides or [])
    tables = {name: _absolute(getattr(settings, name)) for name in ("encoder", "reranker")}
    return settings.model_copy(update=tables)


def _absolute(table: ModelTable) -> ModelTable:
    """A local model's folder in full: workers and later commands have other working folders."""
    if table.model in NO_FOLDER:
        return table
    folder = Path(table.model).expanduser()
    return table.model_copy(update={"model": str(folder.resolve())}) if folder.is_dir() else table


def _read(config: Path) -> dict[str, object]:
    try:
        return tomllib.loads(config.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {config} cannot be read: {error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {config} is not TOML: {error}.") from None
