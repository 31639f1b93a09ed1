"""deliver: what a rank run leaves beside the rankings: run.trec, metrics.json, manifest.json."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from shardrank.core.evaluation import Evaluation, Judgement, Metrics, coverage, unmet
from shardrank.core.measured import per_query
from shardrank.core.units import Done
from shardrank.stages.rank.collate import Collated
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import StoredTables
from shardrank.stages.shared.outputs import Output
from shardrank.stages.shared.ranked_runs import MANIFEST, RankedRun, write_ranked

TAG = "shardrank"
#: Columns of the rankings that a TREC run has.
TREC = ("query_id", "doc_id", "rank", "score")


RANKED = Output(
    MANIFEST,
    ("run.trec", "metrics.json", "report.html"),
    ("rankings", "scores", "answers", "rejected", "written"),
)


@dataclass(frozen=True)
class Delivered:
    """What OUT says of itself, and the metrics; None: without judgements."""

    manifest: RankedRun
    evaluation: Evaluation | None


def deliver(
    context: Context,
    collated: Sequence[Done[Collated]],
    judgements: Sequence[Judgement],
    ranked: RankedRun,
    alone: Metrics,
) -> Delivered:
    """Write run.trec, metrics.json where there are judgements, and last the manifest.

    A rerun with other judgements replaces the metrics: they are not part of what names the run.

    Args:
        context: of the run.
        collated: the rankings of each query block.
        judgements: may be empty.
        ranked: the manifest, but for its `rankings` and what is written here of its `files`.
        alone: metrics of each retriever, where there are several.
    """
    workspace = context.workspace
    refs = [done.made.rankings for done in collated]
    blocks, rows = StoredTables(workspace, refs), sum(ref.rows for ref in refs)
    lines = (to_trec(block) for block in blocks.only(*TREC))
    files = {**ranked.files, "run.trec": workspace.write_pieces("run.trec", lines, rows)}
    evaluation = None
    if judgements:
        settings = context.settings
        measured = evaluate_stored(blocks, judgements, settings.evaluate.metrics, settings.search.k)
        evaluation = measured.beside(alone)
    if evaluation is None:
        workspace.storage.delete("metrics.json")
    else:
        files["metrics.json"] = workspace.write_json("metrics.json", evaluation.metrics)
    manifest = replace(ranked, rankings=tuple(refs), files=files)
    write_ranked(workspace, manifest)
    return Delivered(manifest, evaluation)


def evaluate_stored(
    blocks: StoredTables,
    judgements: Sequence[Judgement],
    metrics: Sequence[str],
    k: int,
    ignore_same_id: bool = False,
) -> Evaluation:
    """Metrics of stored rankings of k documents, as `per_query` gives them; raises as it does."""
    found = per_query(blocks, judgements, metrics, ignore_same_id)
    means = found.means()
    return Evaluation(
        metrics=means,
        coverage=coverage(blocks.only("query_id"), judgements),
        unmet=unmet(means, blocks.only("query_id", "doc_id"), judgements),
        k=k,
        per_query=found,
    )


def to_trec(rankings: pa.Table) -> bytes:
    """`query_id Q0 doc_id rank score tag`, one line a row; scores print so that they read back.

    The format: https://trec.nist.gov (trec_eval's results file).
    """
    columns = (rankings[name].to_pylist() for name in TREC)
    lines = (
        f"{query} Q0 {doc} {rank} {score:.9g} {TAG}\n"
        for query, doc, rank, score in zip(*columns, strict=True)
    )
    return "".join(lines).encode()
