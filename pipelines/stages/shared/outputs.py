"""Whose output a folder holds: a run makes the place its own before it writes for readers."""

from dataclasses import dataclass

from shardrank.core.errors import InputError
from shardrank.stages.run.workspace import Workspace


@dataclass(frozen=True)
class Output:
    """What readers take for a run's: a manifest that names the run, files, folders."""

    manifest: str
    files: tuple[str, ...]
    folders: tuple[str, ...]


def claim(workspace: Workspace, output: Output, run: str, overwrite: bool) -> None:
    """Make the place this run's. Raises InputError where it holds another run's output."""
    if workspace.storage.exists(output.manifest):
        held = workspace.read_json(output.manifest)["run"]
        if held == run:
            return
        if not overwrite:
            raise InputError(
                f"{workspace.storage.root} holds the output of another run ({held}), with other "
                f"inputs or settings; {output.manifest} says which.",
                "Choose another folder, or pass --overwrite.",
            )
    _clear(workspace, output)


def _clear(workspace: Workspace, output: Output) -> None:
    """Remove what readers would take for this run's, the manifest that vouches for it first.

    Finished units stay: they are named from their inputs and serve whoever has the same ones.
    """
    for key in (output.manifest, *output.files):
        workspace.storage.delete(key)
    for folder in output.folders:
        for entry in workspace.storage.list(folder):
            workspace.storage.delete(entry.key)
