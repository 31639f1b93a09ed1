"""The rank flow: queries → encode → search → merge → rerank → collate → ranked Parquet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.core.errors import InputError
from pipelines.core.evaluation import Judgement
from pipelines.core.fingerprint import fingerprint
from pipelines.core.settings import EncoderSettings, RerankerSettings, Settings
from pipelines.core.stored import index_encoder, runs_in_bf16
from pipelines.core.units import Done
from pipelines.core.version import Version
from pipelines.corpus.qrels import read_judged
from pipelines.corpus.queries import QueryBatch, read_queries
from pipelines.models.card import (
    EncoderCard,
    RerankerCard,
    read_encoder_card,
    read_reranker_card,
    settled,
)
from pipelines.stages.collate import collate
from pipelines.stages.encode import QueryBlock, encode, write_blocks
from pipelines.stages.merge import merge
from pipelines.stages.publish import Published, open_version
from pipelines.stages.rerank import Candidates, count_pairs, rerank
from pipelines.stages.runner import Context
from pipelines.stages.search import Effort, search
from pipelines.stages.workspace import Workspace
from pipelines.storage import Sources


@dataclass(frozen=True)
class RankPlan:
    """What a rank run will read, with which models; known before any work, without Ray.

    `settings` are the run's, with the index's own encoder, and no dtype left at "auto".
    """

    index: Workspace
    published: Published
    queries: QueryBatch
    judgements: Sequence[Judgement]
    settings: Settings
    card: EncoderCard
    reranker: RerankerCard | None
    how: Effort
    run: str


@dataclass(frozen=True)
class Ranked:
    """What a rank run leaves: its query blocks, and the markers of its last stages."""

    blocks: Sequence[QueryBlock]
    merged: Sequence[Done]
    reranked: Sequence[Done]
    collated: Sequence[Done]


def plan_ranking(index: Workspace, queries: str, qrels: str | None, settings: Settings) -> RankPlan:
    """Pin the latest version, read the queries and judgements, check that the models match.

    Raises:
        InputError: no version, no usable queries, bad qrels, or a model that is not the index's.
    """
    published = open_version(index)
    sources = Sources(settings.s3)
    batch = read_queries(sources.list(queries), sources.open, settings.corpus)
    if not batch.table.num_rows:
        raise InputError(f"{queries} holds no usable query.", "Queries need an id and a text.")
    asked = batch.table["query_id"].to_pylist()
    judgements = read_judged(sources.open, qrels, asked) if qrels else []
    encoder = index_encoder(published.version, settings.encoder)
    card = read_encoder_card(encoder)
    _require_match(published, card)
    reranker = _reranker_card(published.version, settings.reranker)
    settings = _settled(settings, encoder, reranker)
    how = _effort(published, settings)
    decided = {
        "version": fingerprint(published.version.content()),
        "queries": fingerprint(batch.table.to_pylist()),
        "search": settings.search.deciding(),
        "how": [how.k, how.nprobe, how.depth],
        "reranker": [reranker.fingerprint, reranker.interpolation] if reranker else None,
        "depth": settings.reranker.depth,
    }
    run = fingerprint(decided)
    return RankPlan(index, published, batch, judgements, settings, card, reranker, how, run)


def rank(context: Context, plan: RankPlan) -> Ranked:
    """Run the flow; what an earlier run finished is not done again."""
    version, depth = plan.published.version, context.settings.reranker.depth
    texts = write_blocks(
        context.workspace, plan.queries.table, context.settings.search.block_queries
    )
    blocks = encode(context, texts, plan.card)
    searched = search(context, plan.index, version, blocks, plan.how)
    asked = [block.vectors.rows for block in blocks]
    merged = merge(context, searched, asked, depth if plan.reranker else 0)
    reranked: list[Done] = []
    if plan.reranker:
        candidates = Candidates(
            queries=[block.queries for block in blocks],
            hits=[done.outputs["hits"] for done in merged],
            pairs=count_pairs(merged),
            depth=depth,
            version=version,
            index=plan.index,
            batch=context.workspace,
        )
        reranked = rerank(context, candidates, plan.reranker)
    interpolation = plan.reranker.interpolation if plan.reranker else 0.0
    collated = collate(context, blocks, merged, reranked, interpolation)
    _set_aside(context, plan.queries.rejected)
    return Ranked(blocks, merged, reranked, collated)


def _set_aside(context: Context, rejected: pa.Table) -> None:
    """The queries that cannot be ranked; those of a run before may have been mended since."""
    key = "rejected/queries.parquet"
    if rejected.num_rows:
        context.workspace.write_table(key, rejected)
    else:
        context.workspace.storage.delete(key)


def _reranker_card(version: Version, settings: RerankerSettings) -> RerankerCard | None:
    if settings.model == "off":
        return None
    return read_reranker_card(settings, halve=runs_in_bf16(version))


def _settled(
    settings: Settings, encoder: EncoderSettings, reranker: RerankerCard | None
) -> Settings:
    models: dict[str, Any] = {"encoder": encoder}
    if reranker:
        models["reranker"] = settled(settings.reranker, reranker)
    return settings.model_copy(update=models)


def _require_match(published: Published, card: EncoderCard) -> None:
    built = published.version.encoder
    if built["fingerprint"] != card.fingerprint:
        raise InputError(
            f"The model {card.name!r} is not the one the index was built with: "
            f"{_unlike(card, built)}.",
            "Give the original model (code that it needs is trusted anew by each command: "
            "encoder.trust_remote_code), or index again.",
        )


def _unlike(card: EncoderCard, built: Mapping[str, Any]) -> str:
    if card.weights_sha256 == built["weights_sha256"]:
        return "its weights are, but its tokeniser, its config or the code that it trusts differ"
    return (
        f"its weights' sha256 is {card.weights_sha256[:12]}…, "
        f"there it is {built['weights_sha256'][:12]}…"
    )


def _effort(published: Published, settings: Settings) -> Effort:
    """The audited effort, unless the settings say otherwise."""
    audit: dict[str, Any] = dict(published.version.audit)
    if published.version.codec is None:
        return Effort(settings.search.k, 0, 0)
    nprobe = settings.search.nprobe or audit["nprobe"]
    depth = max(settings.search.depth or audit["depth"], settings.search.k)
    return Effort(settings.search.k, nprobe, depth)
