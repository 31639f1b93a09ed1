"""What a place is used for, and that no command takes one for another use."""

import os
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from typing import Any

from shardrank.core.errors import InputError, ShardrankError
from shardrank.core.settings import Settings
from shardrank.labels.formats import FORMATS
from shardrank.stages.run.workspace import Workspace, open_workspace
from shardrank.stages.shared.versions import BEGUN
from shardrank.version.manifest import version_number

_S3 = "s3://"


class Use(Enum):
    """What a command's argument is for."""

    INDEX = "an index"
    OUT = "a ranking"
    LABELS = "labels"


#: Folders that a run writes into; of an INDEX all that lies below it counts as its own.
_OWN = {
    Use.OUT: ("rankings", "rejected", "runs", "units"),
    Use.LABELS: ("about", "passages", "runs", "scores", "units", *FORMATS),
}


def refuse_other_use(path: str, use: Use, settings: Settings) -> None:
    """Raise InputError where the place holds something else than what is to be written there, or
    lies inside of such a thing."""
    if not path.startswith(_S3):
        _refuse_file(path, use)
    held = _use_of(open_workspace(path, settings))
    if held not in (None, use):
        raise InputError(f"{use.name} {path} holds {held.value}.", "Choose another folder.")
    for outer, below in _parents(path):
        if found := _holder(outer, below, settings):
            raise InputError(
                f"{use.name} {path} lies inside of {outer}, which holds {found.value}.",
                "Choose a folder outside.",
            )


def _refuse_file(path: str, use: Use) -> None:
    """Raise InputError where the place, or what it would lie in, is a file."""
    for place in (path, *(outer for outer, _ in _parents(path))):
        if os.path.exists(place):
            if not os.path.isdir(place):
                raise InputError(
                    f"{use.name} {path} cannot be a folder: {place} is a file.",
                    "Choose another folder.",
                )
            return


def _holder(outer: str, below: str, settings: Settings) -> Use | None:
    """What a folder holds whose own folders these are; who may not look there does not know."""
    with suppress(ShardrankError, OSError):
        workspace = open_workspace(outer, settings)
        if _is_index(workspace):
            return Use.INDEX
        if any(below in folders for folders in _OWN.values()):
            found = _told_use(workspace)
            return found if found and below in _OWN[found] else None
    return None


def _use_of(workspace: Workspace) -> Use | None:
    return Use.INDEX if _is_index(workspace) else _told_use(workspace)


def _is_index(workspace: Workspace) -> bool:
    keys = (entry.key for entry in workspace.storage.list("manifests"))
    begun = workspace.storage.exists(BEGUN)
    return begun or any(version_number(key) is not None for key in keys)


def _told_use(workspace: Workspace) -> Use | None:
    """By manifest.json, which rankings and labels have: what each says and the other does not."""
    if not workspace.storage.exists("manifest.json"):
        return None
    with suppress(ValueError):
        told: Any = workspace.read_json("manifest.json")
        if isinstance(told, dict) and "ranking" in told:
            return Use.LABELS
        if isinstance(told, dict) and "index_content" in told:
            return Use.OUT
    return None


def _parents(path: str) -> Iterator[tuple[str, str]]:
    """Folders above a place, and the name in each of what lies towards it; links are followed."""
    root = _S3 if path.startswith(_S3) else ""
    address = path.removeprefix(_S3) if root else os.path.realpath(path)
    names = address.rstrip("/").split("/")
    for depth in range(len(names) - 1, 0, -1):
        yield root + "/".join(names[:depth]) or "/", names[depth]
