"""Globs over paths cut at slashes: `*`, `?`, `[…]` within a name, `**` for any folders or none."""

import glob
from collections.abc import Sequence
from fnmatch import fnmatchcase

has_magic = glob.has_magic


def fixed_part(address: str) -> str:
    """The folders of a glob before the first one that holds a wildcard."""
    segments = address.split("/")
    first = next(i for i, s in enumerate([*segments, "*"]) if has_magic(s))
    return "/".join(segments[:first])


def matches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Whether the whole glob stands for the whole path."""
    if not pattern or not path:
        return not path and all(segment == "**" for segment in pattern)
    if pattern[0] == "**":
        return matches(pattern[1:], path) or matches(pattern, path[1:])
    return fnmatchcase(path[0], pattern[0]) and matches(pattern[1:], path[1:])


def covers(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Whether the glob matches the path or a folder above it."""
    return any(matches(pattern, path[:end]) for end in range(1, len(path) + 1))


def enters(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Whether a file below the folder `path` can match the glob."""
    if not pattern:
        return False
    if not path or pattern[0] == "**":
        return True
    return fnmatchcase(path[0], pattern[0]) and enters(pattern[1:], path[1:])
