"""Settings from a TOML file's tables and `table.key=value` overrides, or what is wrong there."""

from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from shardrank.core.errors import SettingsError
from shardrank.core.settings import Settings


def parse_settings(tables: dict[str, Any], overrides: list[str]) -> Settings:
    """Settings from the tables of a TOML file and `table.key=value` overrides, which win.

    Raises:
        SettingsError: an unknown table or key, a value of the wrong type or range, or two values
            that contradict each other.
    """
    merged = {name: dict(_as_table(name, value)) for name, value in tables.items()}
    for override in overrides:
        table, key, value = _split_override(override)
        merged.setdefault(table, {})[key] = value
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError(*_explain(error)) from None


def _as_table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(
            f"The setting {name!r} is outside any table.",
            "Put it under one: [search] k = 10.",
        )
    return value


def _split_override(override: str) -> tuple[str, str, Any]:
    name, equals, text = override.partition("=")
    table, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise SettingsError(f"--set {override!r} is not table.key=value.", "Try --set search.k=10.")
    # Blanks belong to the value: prompts such as "query: " end in one.
    none = text.strip().lower() in ("none", "null") and _admits_none(table, key)
    return table, key, None if none else text


def _admits_none(table: str, key: str) -> bool:
    """Elsewhere "none" is a word, or wrong."""
    known = Settings.model_fields.get(table)
    fields: dict[str, FieldInfo] = getattr(known and known.annotation, "model_fields", {})
    return key in fields and type(None) in get_args(fields[key].annotation)


def _explain(error: ValidationError) -> tuple[str, str]:
    """The first problem of a pydantic error in our words: what was found, and what is known."""
    first = error.errors()[0]
    where = ".".join(str(piece) for piece in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"Setting {where} = {first['input']!r}: {first['msg']}.", ""
    table = Settings.model_fields.get(str(first["loc"][0]))
    known = Settings if len(first["loc"]) == 1 or table is None else table.annotation
    names = ", ".join(known.model_fields) if known is not None else ""
    return f"There is no setting {where}.", f"Known here: {names}."
