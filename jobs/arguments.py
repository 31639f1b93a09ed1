"""The arguments of a command that a cluster is to run, and whether its nodes see what they name."""

import fnmatch
import posixpath
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from shardrank.core.errors import InputError
from shardrank.jobs.cli import app

#: Arguments and options that name what is only read: this may travel with the command.
READ = ("corpus", "queries", "qrels", "test", "source")
#: Those that name what is written, or what other commands look for again.
KEPT = ("index", "out", "labels", "first", "second", "path", "to")


def parse(words: Sequence[str]) -> Mapping[str, Any]:
    """The arguments and options of a command, without `shardrank`, by their names in the program.

    Raises:
        InputError: the command is `submit`.
        typer.BadParameter and the like: the command itself would not take them.
    """
    if words and words[0] == "submit":
        raise InputError("A job cannot submit itself.", "Give the command that it runs: index …")
    command, context, rest = get_command(app), None, list(words)
    name: str | None = "shardrank"
    while isinstance(command, TyperGroup):
        context = typer.Context(command, info_name=name, parent=context)
        if not rest:
            context.fail("Missing command.")
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
    return command.make_context(name, rest, parent=context).params


def renamed(words: Sequence[str], config: Path, name: str) -> tuple[str, ...]:
    """A command's words with another name for its settings file, however they gave it: --config
    FILE, --config=FILE, -c FILE, -cFILE, or -vcFILE."""
    wanted = {**parse(words), "config": Path(name)}
    for at, word in reversed(list(enumerate(words))):
        for cut in range(len(word)):
            if Path(word[cut:]) == config:
                tried = (*words[:at], word[:cut] + name, *words[at + 1 :])
                if _parsed(tried) == wanted:
                    return tried
    raise AssertionError(f"no word names {config}: {words}")


def _parsed(words: Sequence[str]) -> Mapping[str, Any] | None:
    try:
        return parse(words)
    except typer.BadParameter:
        return None


def refuse_unseen(arguments: Mapping[str, Any], travelling: Collection[str] | None = None) -> None:
    """Raise where an argument names what a cluster's nodes do not see.

    Args:
        arguments: a command's, as `parse` gives them.
        travelling: names of files in the working directory of the command there; None: it has none
            of its own.

    Raises:
        InputError: one is a relative path, and no file that travels.
    """
    for name in (*READ, *KEPT):
        path = str(arguments.get(name) or "")
        if not path or "://" in path or path.startswith("/"):
            continue
        if name in READ and _travels(path, travelling or ()):
            continue
        raise InputError(f"{name.upper()} is {path}, which no node sees.", _hint(name, travelling))


def _travels(path: str, files: Collection[str]) -> bool:
    """Whether a file, folder or glob is one of files, by their names from the same folder."""
    normal = posixpath.normpath(path)
    return any(
        normal in (".", name) or name.startswith(f"{normal}/") or fnmatch.fnmatchcase(name, normal)
        for name in files
    )


def _hint(name: str, travelling: Collection[str] | None) -> str:
    seen = "Give a path on S3, or that of a disk which all nodes share."
    if travelling is None:
        return seen
    if name in KEPT:
        return f"{seen} A job runs in a folder of the head, which Ray may delete after it."
    return f"{seen} Or that of a small file in --working-dir, seen from there."
