"""Which indexes a ranking searches, and how hard it looks in each."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.errors import InputError, SettingsError
from shardrank.core.feedback import Feedback
from shardrank.core.guidance import Guidance
from shardrank.core.hubness import Correction
from shardrank.core.model_settings import DENSE, reads_pictures
from shardrank.core.rank_settings import RetrieverSettings
from shardrank.core.settings import Settings
from shardrank.index.bm25 import Bm25
from shardrank.index.library import require_faiss
from shardrank.models.encoders.registry import read_again
from shardrank.stages.rank.opening import Effort
from shardrank.stages.rank.search import Retriever
from shardrank.stages.shared.encode import PICTURE
from shardrank.version.indexes import Index
from shardrank.version.manifest import StoredEncoder, Version
from shardrank.version.sizing import TOKEN_KINDS

#: What is said of a guide, where there is one.
GUIDE = {f"guide_{name}" for name in ("documents", "weight", "steps", "rate", "temperature")}


def plan_retrievers(version: Version, settings: Settings, excluded: int = 0) -> list[Retriever]:
    """Those that the settings name, else one for each index: the first encoder's, then by name.
    Codes of vectors that have an index of their own would only find the same once more.

    Args:
        version: of the index.
        settings: of the run.
        excluded: documents that a query excludes, at most.

    Raises:
        SettingsError: there is no such index, a setting is of another kind than the index, a
            library is missing, or there is not one weight for each retriever.
    """
    indexes = version.indexes
    others = sorted(n for n in indexes if n != DENSE and indexes[n].source not in indexes)
    wanted = settings.retriever or [RetrieverSettings(index=n) for n in (DENSE, *others)]
    _refuse_weights(settings, wanted)
    _refuse_guides(wanted)
    # So many more where some are passed over, so that k are left.
    passed_over = excluded + settings.search.ignore_same_id
    return [_retriever(version, settings, each, passed_over) for each in wanted]


def require_same_model(encoder: StoredEncoder, version: Version) -> None:
    """Raise InputError where the encoder here is not the one that the column was made with."""
    source = version.columns[encoder.made_of].card if encoder.made_of else None
    here = read_again(encoder.settings, encoder.card, source)
    if here.fingerprint != encoder.card.fingerprint:
        raise InputError(
            f"The encoder {encoder.name!r} is not the one that its column was made with.",
            "Give the original model, or index again.",
        )


def refuse_unseen(
    queries: pa.Table, version: Version, retrievers: Sequence[Retriever], rerankers: int
) -> None:
    """Raise SettingsError where a query, or a part of one, has a picture that no retriever sees, or
    is a picture without text that is asked of somebody who reads texts alone."""
    if PICTURE not in queries.column_names:
        return
    sighted = [each for each in retrievers if _sees(version, each.index.column)]
    others = [each.name for each in retrievers if each not in sighted]
    columns = [name for name in version.columns if _sees(version, name)]
    hint = f'Name one that does, as [[retriever]] index = "{columns[0]}"' if columns else ""
    if not sighted:
        raise SettingsError(
            "Queries have pictures, and no retriever here sees pictures.",
            f"{hint or 'Index with an [[encoder]] of family image'}, or leave corpus.image out.",
        )
    bare = pc.sum(pc.equal(queries["text"], "")).as_py() or 0
    if bare and (others or rerankers):
        who = f"the retriever {others[0]!r}" if others else "a reranker"
        raise SettingsError(
            f"{bare:,} queries are pictures without text, and {who} reads texts alone.",
            f"{hint} alone" + (", and set reranker.model=off." if rerankers else "."),
        )


def _sees(version: Version, column: str) -> bool:
    """Whether a column is made of pictures, be it by way of others."""
    made = version.columns[column]
    while made.made_of is not None:
        made = version.columns[made.made_of]
    return reads_pictures(made.settings)


def _refuse_weights(settings: Settings, wanted: Sequence[RetrieverSettings]) -> None:
    weights = settings.fusion.weights
    if weights is not None and len(weights) != len(wanted):
        raise SettingsError(
            f"fusion.weights has {len(weights)} numbers, for {len(wanted)} retrievers: "
            f"{', '.join(each.called for each in wanted)}.",
            "Give one for each, in this order.",
        )


def _refuse_guides(wanted: Sequence[RetrieverSettings]) -> None:
    """A guide must be one of the others, and have no guide itself."""
    guides = {each.called for each in wanted if each.guide is None}
    for each in wanted:
        if each.guide is not None and each.guide not in guides:
            raise SettingsError(
                f"[[retriever]] {each.called!r} has the guide {each.guide!r}, which is none of "
                f"the retrievers without one: {', '.join(sorted(guides)) or 'there is none'}.",
                "Name a [[retriever]] that has no guide itself.",
            )


def _retriever(
    version: Version, settings: Settings, wanted: RetrieverSettings, passed_over: int
) -> Retriever:
    index = version.indexes.get(wanted.index)
    if index is None:
        raise SettingsError(
            f"The version has no index over {wanted.index!r}.",
            f"It has: {', '.join(version.indexes)}.",
        )
    require_faiss(index.plan.kind)
    _refuse_strange(index, wanted)
    k = wanted.k or settings.search.k
    how = _effort(index, settings, wanted, k + passed_over)
    return Retriever(
        name=wanted.called,
        index=index,
        how=how,
        k=k,
        feedback=_feedback(index, wanted),
        guidance=_guidance(wanted),
        correction=_correction(wanted),
        query_pool=wanted.query_pool,
        passed_over=passed_over,
    )


def _effort(index: Index, settings: Settings, wanted: RetrieverSettings, k: int) -> Effort:
    """The audited effort for k documents, unless the settings say otherwise."""
    if counts := index.counts:
        return Effort(k, bm25=Bm25(wanted.k1, wanted.b, counts.words / max(1, counts.passages)))
    if index.codec is None:
        return Effort(k)
    nprobe = wanted.nprobe or settings.search.nprobe or index.audit.nprobe
    depth = wanted.depth or settings.search.depth or index.audit.depth
    return Effort(k, nprobe, max(depth, k))


def _feedback(index: Index, wanted: RetrieverSettings) -> Feedback | None:
    if wanted.feedback is None:
        return None
    alpha, beta = (0.5, 0.5) if index.plan.kind == "inverted" else (0.9, 0.1)
    return Feedback(
        wanted.feedback,
        alpha if wanted.alpha is None else wanted.alpha,
        beta if wanted.beta is None else wanted.beta,
        wanted.feedback_terms,
    )


def _guidance(wanted: RetrieverSettings) -> Guidance | None:
    if wanted.guide is None:
        return None
    return Guidance(
        by=wanted.guide,
        documents=wanted.guide_documents,
        steps=wanted.guide_steps,
        rate=wanted.guide_rate,
        weight=wanted.guide_weight,
        temperature=wanted.guide_temperature,
    )


def _correction(wanted: RetrieverSettings) -> Correction | None:
    return Correction(wanted.hubness, wanted.gallery) if wanted.hubness else None


def _refuse_strange(index: Index, wanted: RetrieverSettings) -> None:
    """Raise SettingsError where something is asked for that this kind of index has not."""
    known = {"index", "name", "k"} | ({"k1", "b"} if index.counts else set())
    kind = index.plan.kind
    known |= {"depth"} if kind not in ("inverted", "maxsim") else set()
    known |= {"nprobe"} if kind not in ("inverted", "maxsim", "binary") else set()
    known |= {"hubness"} if kind != "inverted" and kind not in TOKEN_KINDS else set()
    known |= {"gallery"} if wanted.hubness else set()
    known |= {"query_pool"} if kind in TOKEN_KINDS else set()
    known |= {"guide"} if kind != "inverted" and kind not in TOKEN_KINDS else set()
    known |= GUIDE if wanted.guide else set()
    known |= {"feedback"} if kind not in TOKEN_KINDS and not wanted.guide else set()
    known |= {"alpha", "beta"} if wanted.feedback else set()
    known |= {"feedback_terms"} if wanted.feedback and index.plan.kind == "inverted" else set()
    strange = wanted.model_fields_set - known
    if strange:
        raise SettingsError(
            f"[[retriever]] {wanted.called!r} sets {min(strange)}, which an index of kind "
            f"{index.plan.kind} over {index.column!r} has not, or not with these settings.",
            f"Known here: {', '.join(sorted(known))}.",
        )
