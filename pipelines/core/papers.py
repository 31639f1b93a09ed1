"""Typed values as JSON and back: what travels between a flow, its workers and their markers.

A paper is a frozen dataclass of plain values, of tuples, and of other papers. It is written and
read by pydantic (https://docs.pydantic.dev, TypeAdapter), so that a worker is handed the very type
that the flow made.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from shardrank.core.files import FileRef

Paper = TypeVar("Paper")


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once in a process: it takes milliseconds."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def to_json(paper: Any) -> Any:
    """A paper as what JSON has: equal papers give equal values."""
    return _adapter(type(paper)).dump_python(paper, mode="json")


def to_readable(paper: Any) -> bytes:
    """A paper as JSON that people read: indented, in the order of its fields."""
    text = json.dumps(to_json(paper), indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def from_json(kind: type[Paper], value: Any) -> Paper:
    """The paper that `to_json` made the value of. Raises ValueError where it was another kind's."""
    try:
        paper: Paper = _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or kind.__name__
        raise ValueError(f"{where}: {first['msg']}") from error
    return paper


def files_in(paper: Any) -> Iterator[FileRef]:
    """Every file that a paper names, however deep."""
    if isinstance(paper, FileRef):
        yield paper
    elif isinstance(paper, Mapping):
        for value in paper.values():
            yield from files_in(value)
    elif isinstance(paper, tuple | list):
        for value in paper:
            yield from files_in(value)
    elif is_dataclass(paper):
        for field in fields(paper):
            yield from files_in(getattr(paper, field.name))
