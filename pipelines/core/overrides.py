"""Settings from a TOML file's tables and `table.key=value` overrides, or what is wrong there."""

import re
from collections.abc import Sequence
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel, ValidationError

from shardrank.core.errors import SettingsError
from shardrank.core.index_settings import IndexSettings
from shardrank.core.model_settings import COLUMN_TABLES
from shardrank.core.rank_settings import RetrieverSettings
from shardrank.core.reranker_settings import (
    AttentionSettings,
    CrossSettings,
    EnrichedSettings,
    GroupwiseSettings,
    ListwiseSettings,
    MaxsimSettings,
    PairwiseSettings,
    PointwiseSettings,
    SetwiseSettings,
    TermsSettings,
)
from shardrank.core.settings import Settings
from shardrank.core.spelling import meant

Kinds: TypeAlias = tuple[type[BaseModel], ...]

#: Tables of which there may be several, the key by which each is told, and what they may be.
_SEVERAL: dict[str, tuple[str, Kinds]] = {
    "encoder": ("name", COLUMN_TABLES),
    "index": ("of", (IndexSettings,)),
    "reranker": (
        "model",
        (
            CrossSettings,
            PointwiseSettings,
            ListwiseSettings,
            SetwiseSettings,
            GroupwiseSettings,
            PairwiseSettings,
            AttentionSettings,
            EnrichedSettings,
            MaxsimSettings,
            TermsSettings,
        ),
    ),
    "retriever": ("index", (RetrieverSettings,)),
}


def parse_settings(tables: dict[str, Any], overrides: list[str]) -> Settings:
    """Settings from the tables of a TOML file and `table.key=value` overrides, which win.

    Of several tables of one kind, `table.key` is that of the first, and `table.name.key` that of
    the one so called, which is added where there is none.

    Raises:
        SettingsError: an unknown table or key, a value of the wrong type or range, or two values
            that contradict each other.
    """
    merged = {name: _as_tables(name, value) for name, value in tables.items()}
    for override in overrides:
        table, name, key, value = _split_override(override)
        _chosen(merged.setdefault(table, []), table, name)[key] = value
    given = {name: found if name in _SEVERAL else found[0] for name, found in merged.items()}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(*_explain(error)) from None


def _as_tables(name: str, value: Any) -> list[dict[str, Any]]:
    several = name in _SEVERAL and isinstance(value, Sequence) and not isinstance(value, str)
    found = list(value) if several else [value]
    if not all(isinstance(each, dict) for each in found):
        raise SettingsError(
            f"The setting {name!r} is outside any table.",
            _elsewhere(name).strip() or "Put it under one: [search] k = 10.",
        )
    return [dict(each) for each in found]


def _chosen(found: list[dict[str, Any]], table: str, name: str | None) -> dict[str, Any]:
    """The table that an override is of; it is added where there is none."""
    if name is None:
        if not found:
            found.append({})
        return found[0]
    if table not in _SEVERAL:
        raise SettingsError(f"There is one table [{table}].", f"Leave {name!r} out of --set.")
    if table in ("encoder", "index") and not found:
        found.append({})  # the first, which need not be named; of the others there need be none
    key, kinds = _SEVERAL[table]
    fields = kinds[0].model_fields
    for each in found:
        called = each.get("name") or each.get(key, each.get("family", fields[key].default))
        if called == name:
            return each
    made = {key: name, "name": name} if "name" in fields else {key: name}
    kind = _families(kinds).get(name)
    if kind is not None:
        made = {each: name for each in ("family", *made) if each in kind.model_fields}
    found.append(made)
    return made


def _families(kinds: Kinds) -> dict[str, type[BaseModel]]:
    """Of kinds that have one: a table that is called like a family is of it."""
    found = [kind for kind in kinds if "family" in kind.model_fields]
    return {kind.model_fields["family"].default: kind for kind in found}


def _split_override(override: str) -> tuple[str, str | None, str, Any]:
    path, equals, text = override.partition("=")
    table, *names = path.strip().split(".")
    if not equals or not all((table, *names)) or len(names) not in (1, 2):
        hint = _elsewhere(path.strip()).strip() if equals else ""
        raise SettingsError(
            f"--set {override!r} is not table.key=value.", hint or "Try --set search.k=10."
        )
    # Blanks belong to the value: prompts such as "query: " end in one.
    key = names[-1]
    none = text.strip().lower() in ("none", "null") and _admits_none(table, key)
    return table, names[0] if len(names) > 1 else None, key, None if none else text


def _admits_none(table: str, key: str) -> bool:
    """Elsewhere "none" is a word, or wrong."""
    found = [kind.model_fields[key] for kind in kinds_of(table) if key in kind.model_fields]
    return any(type(None) in get_args(field.annotation) for field in found)


def kinds_of(table: str) -> Kinds:
    """What a table of this name may be: one kind, or one for each family."""
    if table in _SEVERAL:
        return _SEVERAL[table][1]
    known = Settings.model_fields.get(table)
    kind = known.annotation if known else None
    return (kind,) if isinstance(kind, type) and issubclass(kind, BaseModel) else ()


def _explain(error: ValidationError) -> tuple[str, str]:
    """The first problem of a pydantic error in our words: what was found, and what is known."""
    first = error.errors()[0]
    table, *inner = [str(piece) for piece in first["loc"]]
    kinds = kinds_of(table)
    where = ".".join(
        [table, *(piece for piece in inner if piece in _keys(kinds) or piece == inner[-1])]
    )
    if first["type"] == "union_tag_invalid":
        family, known = first["ctx"]["tag"], first["ctx"]["expected_tags"]
        hint = f"{meant(family, _words(known))}Known: {known}."
        return f"There is no family {family}.", hint
    if first["type"] == "literal_error":
        hint = meant(str(first["input"]), _words(first["ctx"]["expected"])).strip()
        return f"Setting {where} = {first['input']!r}: {first['msg']}.", hint
    if first["type"] != "extra_forbidden":
        return f"Setting {where} = {first['input']!r}: {first['msg']}.", ""
    if not inner:
        known = _keys((Settings,))
        hint = meant(table, known) or _elsewhere(table)
        return f"There is no setting {where}.", f"{hint}Known here: {', '.join(known)}."
    known = _keys(_of_family(kinds, inner))
    hint = meant(inner[-1], known, f"{table}.") or _elsewhere(inner[-1])
    return f"There is no setting {where}.", f"{hint}Known here: {', '.join(known)}."


def _of_family(kinds: Kinds, inner: Sequence[str]) -> Kinds:
    """Those that a table may be, as its family says, which pydantic puts into the path."""
    families = {kind: kind.model_fields.get("family") for kind in kinds}
    return tuple(kind for kind, field in families.items() if not field or field.default in inner)


def _elsewhere(key: str) -> str:
    """The tables that have such a key, as a question."""
    found = [f"{name}.{key}" for name in Settings.model_fields if key in _keys(kinds_of(name))]
    return f"Did you mean {' or '.join(found)}? " if found else ""


def _words(listed: str) -> list[str]:
    """Of pydantic's "'one', 'two' or 'three'"."""
    return re.findall(r"'([^']*)'", listed)


def _keys(kinds: Kinds) -> list[str]:
    return list(dict.fromkeys(key for kind in kinds for key in kind.model_fields))
