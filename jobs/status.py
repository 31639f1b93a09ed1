"""shardrank status: what is done and what is left, from the files alone."""

from rich.table import Table

from shardrank.core.errors import InputError
from shardrank.core.settings import Settings
from shardrank.jobs.console import console
from shardrank.stages.run.records import all_stage_runs
from shardrank.stages.run.workspace import open_workspace


def run(path: str, settings: Settings) -> None:
    """Print one line a stage for every run that left records under PATH."""
    workspace = open_workspace(path, settings)
    records, storage = all_stage_runs(workspace), workspace.storage
    if not records:
        raise InputError(f"{path} holds no run.", "Give an INDEX or an OUT.")
    markers, gone = {entry.key for entry in storage.list("units")}, 0
    table = Table("run", "stage", "done", "units", "rows", "seconds", box=None)
    for run_id, record in records:
        done, units = record.done(markers), len(set(record.units))
        gone += done - record.marked(markers)
        seconds = "running or cut off" if record.seconds is None else f"{record.seconds:.1f}"
        table.add_row(run_id, record.stage, str(done), str(units), f"{record.rows:,}", seconds)
    console().print(table)
    if gone:
        console().print(
            f"Of {gone:,} finished units the markers are gone, such as to gc: a run that needs "
            "them again makes them anew."
        )
    versions = [entry.key for entry in storage.list("manifests")]
    if versions:
        console().print(f"Latest version: {versions[-1]}")
