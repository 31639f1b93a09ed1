"""shardrank evaluate: metrics of an OUT against judgements."""

import pyarrow as pa

from jobs.console import console
from jobs.rank import metrics_table
from pipelines.core.evaluation import evaluate
from pipelines.core.units import FileRef
from pipelines.corpus.qrels import read_qrels
from pipelines.stages.workspace import Workspace
from pipelines.storage import open_source, open_storage


def run(out: str, qrels: str) -> None:
    """Print the metrics; nothing in OUT changes."""
    workspace = Workspace(open_storage(out))
    manifest = workspace.read_json("manifest.json")
    with open_source(qrels) as file:
        judgements = read_qrels(file.read(), qrels)
    refs = [FileRef.parse(ref) for ref in manifest["rankings"]]
    metrics = evaluate(pa.concat_tables([workspace.read_table(ref) for ref in refs]), judgements)
    console().print(metrics_table(metrics))
