"""Settings from a TOML file and --set."""

import tomllib
from pathlib import Path

from pipelines.core.errors import SettingsError
from pipelines.core.settings import Settings, parse_settings


def load_settings(config: Path | None, overrides: list[str] | None) -> Settings:
    """The file's tables, then the overrides, over the defaults.

    Raises:
        SettingsError: no such file, no TOML, or a setting that is unknown or wrong.
    """
    return parse_settings(_read(config) if config else {}, overrides or [])


def _read(config: Path) -> dict[str, object]:
    try:
        return tomllib.loads(config.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {config} cannot be read: {error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {config} is not TOML: {error}.") from None
