"""shardrank evaluate: metrics of an OUT against judgements."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shardrank.core.errors import InputError
from shardrank.core.evaluation import evaluate, same_ids
from shardrank.core.same_ids import SameIds, notice
from shardrank.core.settings import Settings
from shardrank.core.units import FileRef
from shardrank.corpus.qrels import read_qrels
from shardrank.jobs.console import console
from shardrank.jobs.rank import judged_lines, metrics_table
from shardrank.stages.run.workspace import StoredTables, open_workspace
from shardrank.storage import Sources


def run(out: str, qrels: str, settings: Settings) -> None:
    """Print the metrics; nothing in OUT changes."""
    workspace = open_workspace(out, settings)
    manifest = workspace.read_json("manifest.json")
    if "rankings" not in manifest:
        raise InputError(f"{out} holds no rankings.", "Name the OUT of shardrank rank.")
    with Sources(settings.s3).open(qrels) as file:
        judgements = read_qrels(file.read(), qrels)
    refs = [FileRef.parse(ref) for ref in manifest["rankings"]]
    blocks, ignored = StoredTables(workspace, refs), settings.search.ignore_same_id
    metrics = evaluate(blocks, judgements, ignored)
    console().print(metrics_table(metrics))
    for line in judged_lines(blocks, judgements, metrics):
        console().print(line)
    if said := notice(_same_ids(blocks, manifest, ignored)):
        console().print(said)


def _same_ids(blocks: StoredTables, manifest: Mapping[str, Any], ignored: bool) -> SameIds:
    """As the rankings have them; whether they are the queries, the rank run has looked."""
    found = same_ids(blocks.only("query_id", "doc_id", "retrieval_rank"))
    seen = manifest.get("same_ids", {})
    looked, equal = seen.get("looked", 0), seen.get("equal", 0)
    return replace(found, looked=looked, equal=equal, ignored=ignored)
