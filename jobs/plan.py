"""shardrank plan: what a job would do, as arithmetic; no stage runs.

The models' cards are read, for which those of a hub are downloaded.
"""

from rich.table import Table

from shardrank.core.evaluation import Coverage
from shardrank.core.model_settings import DENSE
from shardrank.core.pools import Pool, Resources, plan_pool, plan_search
from shardrank.core.settings import ClusterSettings, Settings
from shardrank.core.source_files import Listing
from shardrank.corpus.changes import Mode
from shardrank.flows.backfill import Backfill
from shardrank.flows.index_plan import IndexPlan, plan_indexing
from shardrank.flows.rank_plan import RankPlan, most_excluded, plan_ranking
from shardrank.jobs.columns import unmeasured
from shardrank.jobs.console import console, error_console
from shardrank.jobs.plan_columns import column_lines
from shardrank.jobs.plan_rerankers import rerank_lines
from shardrank.jobs.plan_time import (
    index_time,
    index_work,
    passages_of,
    rank_time,
    rank_work,
    rerank_misfits,
)
from shardrank.jobs.source_lines import left_out_lines, read_lines
from shardrank.kernels.limits import usable_cpus
from shardrank.kernels.machine import visible_gpus
from shardrank.models.notes import column_notes
from shardrank.models.rerankers.registry import reranker_notes
from shardrank.report.figures import size
from shardrank.report.sentences import deeper, uncounted
from shardrank.stages.index.look import look
from shardrank.stages.index.vector_index import serving_codec
from shardrank.stages.rank.search import Retriever
from shardrank.stages.run.executors import cluster_address
from shardrank.stages.run.workspace import open_workspace
from shardrank.version.codec_sizes import Sizes, estimate
from shardrank.version.manifest import Version
from shardrank.version.sizing import CodecPlan, plan_codec


def explain_index(corpus: str, path: str, mode: Mode, settings: Settings) -> None:
    """Print the plan of an index run. Raises what the run itself would refuse with."""
    resources = _resources(settings.cluster)
    pool = plan_pool(resources, settings.cluster)
    plan = plan_indexing(corpus, open_workspace(path, settings), mode, settings)
    settings = plan.settings
    seen = look(plan.source.slices, plan.source.text, settings, plan.card)
    read = passages_of(plan, seen)
    total = read + (plan.base.version.live.passages if plan.base and mode == "upsert" else 0)
    sizes, origin = _codec(plan, settings, total)
    component = 2 if settings.dense.stored == "fp16" else 4
    bytes_ = estimate(
        sizes, total, plan.card.dim, settings.index_of(DENSE).shard_passages, component
    )
    table = _table(f"shardrank index {corpus} {path}")
    table.add_row("source", f"{size(plan.source.bytes)} in {len(plan.source.slices):,} slices")
    _add_listing(table, plan.source.listing)
    work = index_work(plan, seen, total)
    tokens = f"of {work.passage_tokens:,} tokens each"
    table.add_row("passages", f"about {read:,} {tokens}, in parts of {plan.part_size:,}")
    table.add_row("on top of", _base_line(plan, settings))
    table.add_row("encoder", f"{plan.card.name}: {plan.card.dim} components, {plan.card.dtype}")
    for note in column_notes(settings.encoder):
        table.add_row("", note)
    for line in column_lines(work, total):
        table.add_row("column", line)
    table.add_row("embed pool", pool.explain())
    table.add_row("index", f"{_index_line(sizes)}{origin}, for about {total:,} passages")
    table.add_row("disk", _disk_line(bytes_))
    if bytes_.training:
        memory = f"training {size(bytes_.training)}, building a shard {size(bytes_.build)}"
        table.add_row("memory", memory)
    table.add_row("time", "\n".join([index_time(plan, work, resources), *unmeasured(work)]))
    console().print(table)


def _disk_line(sizes: Sizes) -> str:
    shards = f"{sizes.shards:,} shards of {size(sizes.shard)}" if sizes.shards else "no shard files"
    return f"vectors {size(sizes.vectors)}, {shards}"


def explain_rank(path: str, queries: str, qrels: str | None, settings: Settings) -> None:
    """Print the plan of a rank run. Raises what the run itself would refuse with."""
    resources = _resources(settings.cluster)
    pool: Pool = plan_pool(resources, settings.cluster)
    searching = plan_search(resources, settings.cluster, settings.search.device)
    plan = plan_ranking(open_workspace(path, settings), queries, qrels, settings)
    version, count = plan.published.version, plan.queries.table.num_rows
    table = _table(f"shardrank rank {path} {queries}")
    table.add_row(
        "version",
        f"{plan.published.number:06d}: {_shards(version):,} shards, "
        f"{len(version.parts):,} parts, {version.live.passages:,} passages",
    )
    table.add_row("queries", f"{count:,} ({plan.queries.rejected.num_rows:,} rejected)")
    if most := most_excluded(plan.queries.table):
        table.add_row(
            "excluded", f"up to {most:,} documents of a query; all are searched for so many more"
        )
    if plan.judgements:
        table.add_row("judged", "\n".join(_judged_lines(plan)))
    _add_listing(table, plan.listing)
    table.add_row(
        "search",
        "; ".join(_search_line(each) for each in plan.retrievers),
    )
    table.add_row("search pool", f"{searching.explain()}, of vectors")
    work = rank_work(plan)
    table.add_row("rerank", "\n".join(rerank_lines(plan, work)) or "none")
    for note in (note for each in plan.rerankers for note in reranker_notes(each.settings)):
        table.add_row("", note)
    table.add_row("model pool", pool.explain())
    table.add_row("time", "\n".join([rank_time(plan, work, resources), *unmeasured(work)]))
    for line in rerank_misfits(plan, work, resources):
        table.add_row("does not fit", line)
    console().print(table)


def _judged_lines(plan: RankPlan) -> list[str]:
    """How many of the queries are judged, and what that means for the metrics."""
    asked = plan.queries.table["query_id"].to_pylist()
    judged = {judgement.query_id for judgement in plan.judgements}
    found = Coverage(len(judged), len(asked), len(judged.intersection(asked)))
    metrics, k = plan.settings.evaluate.metrics, plan.settings.search.k
    return [
        f"{found.both:,} of {len(asked):,} queries, for {', '.join(metrics)}",
        *uncounted(found),
        *deeper(metrics, k),
    ]


def _search_line(retriever: Retriever) -> str:
    how = retriever.how
    effort = f"nprobe {how.nprobe}, depth {how.depth}" if how.nprobe else "exact"
    name = "" if retriever.name == DENSE else f"{retriever.name}: "
    return f"{name}k {retriever.k}, {effort}"


def _shards(version: Version) -> int:
    return sum(len(index.shards) for index in version.indexes.values())


def _add_listing(table: Table, listing: Listing) -> None:
    table.add_row("read", read_lines(listing))
    if listing.left_out:
        table.add_row("left out", left_out_lines(listing))


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column()
    return table


def _resources(settings: ClusterSettings) -> Resources:
    """Of the cluster that would be used; a local Ray is not started to count them."""
    if cluster_address(settings) is None:
        return Resources(settings.cpus or usable_cpus(), visible_gpus())
    from shardrank.stages.run.cluster import connect

    with connect(settings, error_console().print) as executor:
        return executor.resources


def _base_line(plan: IndexPlan, settings: Settings) -> str:
    """What is kept of the index as it is."""
    if plan.base is None:
        return "nothing: a new index, everything is embedded"
    live = plan.base.version.live
    what = f"version {plan.base.number:06d}: {live.documents:,} documents"
    if plan.backfill:
        return f"{what}; {_backfill_line(plan, plan.backfill, settings)}"
    if not plan.differs:
        return f"{what}; only new and changed ones are embedded"
    allowed = "" if settings.gate.reembed else "; refused without --set gate.reembed=true"
    changed = "; ".join(plan.differs)
    anew = f"all {live.passages:,} passages are embedded anew{allowed}"
    return f"{what}; changed: {changed}; {anew}"


def _backfill_line(plan: IndexPlan, backfill: Backfill, settings: Settings) -> str:
    """What is embedded of the documents that an encoder before has embedded."""
    changed = f"changed: {'; '.join(plan.differs)}; " if plan.differs else ""
    due = sum(plan.stored[n].live.documents for n in backfill.due)
    embedded = f"new and changed ones are embedded, and {due:,} old ones"
    if not backfill.left:
        return f"{changed}{embedded}, which are all"
    asked = settings.backfill
    learnt = (
        f" that is learnt of up to {asked.sample:,} passages and refused below Recall@10 "
        f"{asked.target:g}"
        if backfill.before
        else ""
    )
    return f"{changed}{embedded}; {backfill.left:,} are served through a map{learnt}"


def _codec(plan: IndexPlan, settings: Settings, passages: int) -> tuple[CodecPlan, str]:
    """The codec that is kept, or the one to be trained; and where it comes from."""
    wanted = settings.index_of(DENSE)
    before = plan.kept_index(DENSE)
    if before and serving_codec(before, wanted, passages):
        return before.plan, f", that of version {plan.parent:06d} while it serves"
    return plan_codec(wanted, passages, plan.card.dim), ""


def _index_line(codec: CodecPlan) -> str:
    if codec.kind == "exact":
        return "exact search over the stored vectors"
    rotated = ", OPQ" if codec.opq else ""
    first = f", of the first {codec.dim} components" if codec.dim else ""
    stored = f"{codec.code_bytes} bytes a vector"
    return f"{codec.kind}: {codec.nlist:,} lists, {stored}{first}{rotated}"
