"""deliver: what a rank run leaves beside the rankings: run.trec, metrics.json, manifest.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.core.errors import InputError
from pipelines.core.evaluation import Judgement, evaluate
from pipelines.core.units import Done, FileRef
from pipelines.stages.runner import Context
from pipelines.stages.workspace import Workspace

TAG = "shardrank"


@dataclass(frozen=True)
class Output:
    """What readers take for a run's: a manifest that names the run, files, folders."""

    manifest: str
    files: tuple[str, ...]
    folders: tuple[str, ...]


RANKED = Output(
    "manifest.json",
    ("origin.json", "run.trec", "metrics.json", "report.html"),
    ("rankings", "rejected"),
)


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


def deliver(
    context: Context,
    collated: Sequence[Done],
    judgements: Sequence[Judgement],
    about: Mapping[str, Any],
) -> dict[str, dict[str, float]] | None:
    """Write run.trec, metrics.json where there are judgements, and last the manifest.

    A rerun with other judgements replaces the metrics: they are not part of what names the run.

    Returns:
        The metrics, or None without judgements.
    """
    workspace = context.workspace
    refs = [done.outputs["rankings"] for done in collated]
    # Block by block: as Python's objects, all rows at once would be ten times their Arrow table.
    run = b"".join(to_trec(workspace.read_table(ref)) for ref in refs)
    files = {"run.trec": workspace.storage.write("run.trec", run, sum(ref.rows for ref in refs))}
    metrics = _metrics(workspace, refs, judgements) if judgements else None
    if metrics is None:
        workspace.storage.delete("metrics.json")
    else:
        files["metrics.json"] = workspace.write_json("metrics.json", metrics)
    manifest = {
        "run": context.run,
        **about,
        "rankings": [ref.json() for ref in refs],
        "files": {name: ref.json() for name, ref in files.items()},
    }
    workspace.write_json("manifest.json", manifest)
    return metrics


def _metrics(
    workspace: Workspace, refs: Sequence[FileRef], judgements: Sequence[Judgement]
) -> dict[str, dict[str, float]]:
    return evaluate(pa.concat_tables([workspace.read_table(ref) for ref in refs]), judgements)


def to_trec(rankings: pa.Table) -> bytes:
    """`query_id Q0 doc_id rank score tag`, one line a row; scores print so that they read back.

    The format: https://trec.nist.gov (trec_eval's results file).
    """
    columns = (rankings[name].to_pylist() for name in ("query_id", "doc_id", "rank", "score"))
    lines = (
        f"{query} Q0 {doc} {rank} {score:.9g} {TAG}\n"
        for query, doc, rank, score in zip(*columns, strict=True)
    )
    return "".join(lines).encode()
