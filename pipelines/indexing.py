"""The index flow: corpus → scan → ingest → embed → train → build → audit → publish."""

import getpass
import os
import platform
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from pipelines import __version__
from pipelines.core.errors import InputError
from pipelines.core.fingerprint import fingerprint
from pipelines.core.protocols import Storage
from pipelines.core.settings import Settings
from pipelines.core.sizing import plan_index, refuse_misfits
from pipelines.core.units import Done, FileRef, total
from pipelines.core.version import Part, Version
from pipelines.corpus.slices import Slice, plan_slices
from pipelines.models.card import EncoderCard, read_encoder_card
from pipelines.stages.audit import Index, audit
from pipelines.stages.build import build, train
from pipelines.stages.embed import embed
from pipelines.stages.ingest import default_part_size, ingest, parts_of
from pipelines.stages.publish import Published, publish, set_aside
from pipelines.stages.runner import Context
from pipelines.stages.scan import scan
from pipelines.storage import list_sources, open_source


@dataclass(frozen=True)
class IndexPlan:
    """What an index run will read, with which model; known before any work, without Ray."""

    corpus: str
    slices: Sequence[Slice]
    bytes: int
    card: EncoderCard
    part_size: int
    run: str


def plan_indexing(corpus: str, settings: Settings) -> IndexPlan:
    """List the corpus, cut it into slices and read the model's card.

    Raises:
        InputError: there is no such corpus or model.
        SettingsError: the index's settings suit neither the model nor the parts.
    """
    entries = list_sources(corpus)
    size = sum(entry.bytes for entry in entries)
    card = read_encoder_card(settings.encoder)
    slices = plan_slices(entries, open_source, settings.corpus.slice_bytes)
    part_size = settings.passages.part_size or default_part_size(size)
    refuse_misfits(settings.index, card.dim, part_size)
    deciding = {
        name: getattr(settings, name).deciding() for name in ("corpus", "passages", "index")
    }
    decided = {
        "slices": [piece.json() for piece in slices],
        "encoder": card.fingerprint,
        "stored": settings.encoder.stored,
        "part_size": part_size,
        "audit": settings.audit.deciding(),
        **deciding,
    }
    return IndexPlan(corpus, slices, size, card, part_size, fingerprint(decided))


def index(context: Context, plan: IndexPlan) -> Published:
    """Run the flow; what an earlier run finished is not done again.

    Raises:
        InputError: no row of the corpus can be indexed.
        AuditRefused: the index does not reach the audit's target.
        RunFailed: some units failed; rerun to resume.
    """
    settings = context.settings
    scanned = scan(context, plan.slices)
    set_aside(context, "scan", scanned.scans)
    ingested = ingest(context, scanned, plan.card, plan.part_size)
    set_aside(context, "ingest", ingested)
    _require_passages(plan, scanned.scans, ingested)
    passages = list(parts_of(ingested))
    embedded = embed(context, passages, plan.card)
    set_aside(context, "embed", embedded)
    parts = _parts(passages, embedded)
    sizes = plan_index(settings.index, total(embedded, "searchable"), plan.card.dim)
    codec = train(context, parts, sizes)
    shards = build(context, parts, codec)
    version = Version(
        parts=tuple(parts),
        shards=tuple(shards),
        codec=codec,
        encoder=_encoder(settings, plan.card),
        index=asdict(sizes),
        audit=audit(context, Index(parts, shards, sizes, plan.card)),
        counts=_counts(scanned.scans, ingested, embedded),
        lengths=_lengths(ingested),
        made=_made(context, plan),
    )
    return publish(context, version)


def _require_passages(plan: IndexPlan, scans: Sequence[Done], ingested: Sequence[Done]) -> None:
    if total(list(ingested), "rows"):
        return
    rows = total(list(scans), "rows")
    raise InputError(
        f"{plan.corpus} has {rows} rows, and none can be indexed.",
        "The rejected table under runs/ says why, row by row." if rows else "It is empty.",
    )


def _parts(passages: Sequence[FileRef], embedded: Sequence[Done]) -> list[Part]:
    return [
        Part(ref.key.split("/")[1], ref, done.outputs["vectors"])
        for ref, done in zip(passages, embedded, strict=True)
    ]


def _encoder(settings: Settings, card: EncoderCard) -> dict[str, Any]:
    return {**asdict(card), "settings": settings.encoder.deciding()}


def _counts(
    scans: Sequence[Done], ingested: Sequence[Done], embedded: Sequence[Done]
) -> dict[str, int]:
    """Rows in = documents + rejected, always."""
    rejected = sum(total(list(dones), "rejected") for dones in (scans, ingested, embedded))
    set_aside_late = total(list(embedded), "rejected")
    return {
        "rows": total(list(scans), "rows"),
        "documents": total(list(ingested), "documents") - set_aside_late,
        "rejected": rejected,
        "passages": total(list(embedded), "searchable"),
        "truncated": total(list(ingested), "truncated"),
        "tokens": total(list(ingested), "tokens"),
    }


def _lengths(ingested: Sequence[Done]) -> dict[str, int]:
    """Passages by token count, in classes named by their lower bound."""
    merged: dict[str, int] = {}
    for done in ingested:
        for low, count in done.facts["lengths"].items():
            merged[low] = merged.get(low, 0) + count
    return dict(sorted(merged.items(), key=lambda item: int(item[0])))


def _made(context: Context, plan: IndexPlan) -> dict[str, Any]:
    return {
        "run": context.run,
        "corpus": plan.corpus,
        "attempt": uuid.uuid4().hex,
        "time": time.time(),
        "by": f"{_user()}@{platform.node()}",
        "shardrank": __version__,
    }


def _user() -> str:
    """Who runs this; containers often run as a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def index_lock(storage: Storage) -> AbstractContextManager[None]:
    """Only one index run at a time on one INDEX. Raises CommitConflict where one is under way."""
    return storage.lock("runs/lock")
