"""What all tables of settings share."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer


def resize(default: Any, description: str, **limits: Any) -> Any:
    """A field that changes speed or memory, or whether a run goes on, never its results."""
    return Field(default, description=description, json_schema_extra={"resize": True}, **limits)


class SettingsTable(BaseModel):
    """Base of the settings tables: frozen, and unknown names are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )

    def deciding(self) -> dict[str, Any]:
        """The fields that change results, as JSON: what a fingerprint takes in."""
        names = [n for n, f in type(self).model_fields.items() if not _resizes(f.json_schema_extra)]
        return self.model_dump(mode="json", include=set(names))


#: How a table stands in a paper that names work: by the fields that change results.
DECIDING = PlainSerializer(SettingsTable.deciding)


def _resizes(extra: Any) -> bool:
    return isinstance(extra, dict) and extra.get("resize") is True


def several(given: Any) -> Any:
    """A table [name] is an array [[name]] of one."""
    return (given,) if isinstance(given, Mapping | SettingsTable) else given


#: What columns and retrievers are called: their names stand in those of folders.
NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"
