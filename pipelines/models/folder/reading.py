"""JSON files of a model's folder, key by key: what is not understood is refused by name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError

#: How a file begins that git-lfs left in the place of a large one.
LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Keys:
    """The allow-list of a JSON object.

    Attributes:
        read: keys whose values we act on.
        idle: keys that cannot change a result, or only its last bits.
        fixed: keys that are understood with some values only: those that change nothing.
    """

    read: frozenset[str]
    idle: frozenset[str]
    fixed: Mapping[str, tuple[Any, ...]]

    @classmethod
    def of(cls, read: str, idle: str = "", **fixed: tuple[Any, ...]) -> "Keys":
        """From names separated by blanks."""
        return cls(frozenset(read.split()), frozenset(idle.split()), fixed)


def read_json(path: Path) -> Any:
    """A parsed JSON file.

    Raises:
        InputError: the file is absent, is what git-lfs left in its place, or holds no JSON.
    """
    try:
        data = path.read_bytes()
        refuse_pointer(path, data)
        return json.loads(data)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as JSON: {error}.", "Name a complete model folder."
        ) from error


def read_object(path: Path, optional: bool = False) -> dict[str, Any]:
    """A JSON object; {} where the file is absent and may be. Raises InputError as `read_json`."""
    if optional and not path.is_file():
        return {}
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(
            f"{path} holds a JSON {type(found).__name__}, not an object.",
            "Name a complete model folder.",
        )
    return found


def read_known(path: Path, keys: Keys, optional: bool = False) -> dict[str, Any]:
    """A JSON object of which every key is on the allow-list; those that are idle are left out.

    Raises:
        InputError: as `read_object`, or a key or its value is not understood.
    """
    found = read_object(path, optional)
    check_keys(path, found, keys)
    return {name: value for name, value in found.items() if name in keys.read}


def check_keys(path: Path, found: Mapping[str, Any], keys: Keys) -> None:
    """Refuse what is not on the allow-list, by name and value."""
    for name, value in found.items():
        if name in keys.read or name in keys.idle or value in keys.fixed.get(name, ()):
            continue
        only = keys.fixed.get(name)
        wanted = f" (understood: {', '.join(map(json.dumps, only))})" if only else ""
        raise InputError(
            f"{path} has {name} = {_short(value)}, which is not understood{wanted}, and it may "
            "decide results.",
            "Use another model. If it decides nothing, take it out of the file.",
        )


def refuse_pointer(path: Path, head: bytes) -> None:
    """Refuse what git-lfs leaves in the place of a file that it did not fetch."""
    if head.startswith(LFS_POINTER):
        raise InputError(
            f"{path} is a git-lfs pointer: the file itself was not fetched.",
            "Run `git lfs pull` in the model's repository, or download the model again.",
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"
