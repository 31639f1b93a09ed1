"""shardrank evaluate: metrics of an OUT against judgements."""

from jobs.console import console
from jobs.rank import metrics_table
from pipelines.core.errors import InputError
from pipelines.core.evaluation import evaluate
from pipelines.core.settings import Settings
from pipelines.core.units import FileRef
from pipelines.corpus.qrels import read_qrels
from pipelines.stages.workspace import StoredTables, open_workspace
from pipelines.storage import Sources


def run(out: str, qrels: str, settings: Settings) -> None:
    """Print the metrics; nothing in OUT changes."""
    workspace = open_workspace(out, settings)
    manifest = workspace.read_json("manifest.json")
    if "rankings" not in manifest:
        raise InputError(f"{out} holds no rankings.", "Name the OUT of shardrank rank.")
    with Sources(settings.s3).open(qrels) as file:
        judgements = read_qrels(file.read(), qrels)
    refs = [FileRef.parse(ref) for ref in manifest["rankings"]]
    metrics = evaluate(StoredTables(workspace, refs), judgements)
    console().print(metrics_table(metrics))
