"""What a label run leaves beside its rows: whose labels these are, and the manifest of a format."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from shardrank.core.errors import InputError
from shardrank.core.files import FileRef
from shardrank.core.papers import to_readable
from shardrank.core.settings import LabelSettings
from shardrank.core.settings_base import DECIDING
from shardrank.core.units import Done, total
from shardrank.labels.formats import FORMATS, Format
from shardrank.stages.label.export import Exported
from shardrank.stages.label.score import ScoredBlock
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.outputs import Output, claim

#: What all formats share. Its manifest is written first: it says whose scores these are.
BASE = Output("manifest.json", (), ("scores", "about", *FORMATS))


@dataclass(frozen=True)
class LabelledRun:
    """LABELS/manifest.json: whose scores these are.

    Attributes:
        run: names it.
        ranking: the ranked run that the candidates come from.
        index_version: that it searched.
        judgements: how many there were.
        teachers: fingerprints of their cards by name; None: retrieval.
    """

    run: str
    ranking: str
    index_version: int
    judgements: int
    teachers: Mapping[str, str | None]


@dataclass(frozen=True)
class LabelCounts:
    """What became of all there was: queries = used + set aside (by reason), candidates = usable +
    not finite + the query itself, and pairs by what became of them."""

    candidates: int
    usable: int
    not_finite: int
    itself: int
    truncated: int
    queries: int
    used: int
    rows: int
    suspects: int
    set_aside: Mapping[str, int]
    pairs: Mapping[str, int]


@dataclass(frozen=True)
class LabelManifest:
    """LABELS/about/FORMAT/manifest.json: the rows of one format, and what they were made by."""

    run: str
    format: str
    loss: str
    source: str
    settings: Annotated[LabelSettings, DECIDING]
    counts: LabelCounts
    files: tuple[FileRef, ...]
    ids: tuple[FileRef, ...]
    scores: tuple[FileRef, ...]


def claim_labels(
    workspace: Workspace, base: LabelledRun, form: Format, run: str, overwrite: bool
) -> None:
    """Make LABELS this ranking's and teachers', and LABELS/FORMAT this run's.

    Raises:
        InputError: it holds labels of another ranking or of other teachers, rows of this format
            with other settings, or what an earlier shardrank left.
    """
    if not overwrite:
        _refuse_former(workspace)
    delivered = any(workspace.storage.exists(each.manifest) for each in FORMATS.values())
    claim(workspace, BASE, base.run, overwrite or not delivered)
    workspace.storage.write(BASE.manifest, to_readable(base))
    claim(workspace, Output(form.manifest, (), (form.name, form.about)), run, overwrite)


def _refuse_former(workspace: Workspace) -> None:
    """Raise InputError where manifests lie among the rows, as they did."""
    found = [name for name in FORMATS if workspace.storage.exists(f"{name}/manifest.json")]
    if found:
        raise InputError(
            f"{workspace.storage.root} holds labels of an earlier shardrank, with other files "
            f"among the rows: {found[0]}/manifest.json.",
            "Choose another folder, or pass --overwrite.",
        )


def deliver_labels(
    context: Context,
    form: Format,
    scored: Sequence[Done[ScoredBlock]],
    exported: Sequence[Done[Exported]],
) -> LabelManifest:
    """Write LABELS/about/FORMAT/manifest.json last; returns it.

    Raises:
        InputError: no query gives a row; the message says why they were set aside.
    """
    told = counts(scored, exported)
    if not told.rows:
        raise InputError(
            f"No query gives a row of {form.name}: {_said(told.set_aside)}.",
            "Loosen the filters under [label], or rank and score deeper.",
        )
    filled = [done.made for done in exported if done.counts["rows"]]
    found = LabelManifest(
        run=context.run,
        format=form.name,
        loss=form.loss,
        source=form.source,
        settings=context.settings.label,
        counts=told,
        files=tuple(made.rows for made in filled),
        ids=tuple(made.ids for made in filled),
        scores=tuple(done.made.scores for done in scored),
    )
    context.workspace.storage.write(form.manifest, to_readable(found))
    return found


def counts(scored: Sequence[Done[ScoredBlock]], exported: Sequence[Done[Exported]]) -> LabelCounts:
    """Over all blocks."""
    aside, pairs = Counter[str](), Counter[str]()
    for done in exported:
        aside.update(done.made.reasons)
        pairs.update(done.made.pairs)
    candidates, broken = total(scored, "rows"), total(scored, "not_finite")
    own = total(exported, "itself")
    return LabelCounts(
        candidates=candidates,
        usable=candidates - broken - own,
        not_finite=broken,
        itself=own,
        truncated=total(scored, "truncated"),
        queries=total(exported, "queries"),
        used=total(exported, "used"),
        rows=total(exported, "rows"),
        suspects=total(exported, "suspects"),
        set_aside=dict(sorted(aside.items())),
        pairs=dict(sorted(pairs.items())),
    )


def _said(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{count:,} queries: {reason}" for reason, count in reasons.items())
