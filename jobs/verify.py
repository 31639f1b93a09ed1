"""shardrank verify: read every file of a version, and check it against the manifest."""

from rich.progress import track

from shardrank.core.errors import IntegrityError
from shardrank.core.settings import Settings
from shardrank.flows.verify import checks, verify
from shardrank.jobs.console import console, error_console
from shardrank.report.figures import size
from shardrank.stages.run.workspace import open_workspace
from shardrank.stages.shared.versions import existing_versions, read_version


def run(path: str, number: int | None, settings: Settings) -> None:
    """Check a version, the latest by default. Raises IntegrityError where anything is wrong."""
    workspace = open_workspace(path, settings)
    number = existing_versions(workspace)[-1] if number is None else number
    version = read_version(workspace, number)
    seen = track(
        verify(workspace, version),
        "verify",
        checks(version),
        console=error_console(),
        disable=not error_console().is_terminal,
    )
    problems = [f"{piece.name}: {problem}" for piece in seen for problem in piece.problems]
    for line in problems:
        console().print(line)
    if problems:
        raise IntegrityError(
            f"Version {number:06d} of {path} is damaged: {len(problems)} problems.",
            "Roll back to a version that is whole, or restore the files from a backup.",
        )
    held = size(sum(ref.bytes for ref in version.files))
    console().print(
        f"Version {number:06d} of {path} is whole: {len(version.files):,} files, {held}, "
        f"{version.live.documents:,} documents, {version.live.passages:,} passages."
    )
