"""What a label run leaves beside its rows: whose labels these are, and the manifest of a format."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from shardrank.core.errors import InputError
from shardrank.core.papers import to_json
from shardrank.core.units import Done, total
from shardrank.labels.formats import FORMATS, Format
from shardrank.stages.label.export import Exported
from shardrank.stages.label.score import ScoredBlock
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.outputs import Output, claim

#: What all formats share. Its manifest is written first: it says whose scores these are.
BASE = Output("manifest.json", (), ("scores", *FORMATS))


def claim_labels(
    workspace: Workspace, base: Mapping[str, Any], form: Format, run: str, overwrite: bool
) -> None:
    """Make LABELS this ranking's and teachers', and LABELS/FORMAT this run's.

    Raises:
        InputError: it holds labels of another ranking or of other teachers, or rows of this
            format with other settings.
    """
    delivered = any(workspace.storage.exists(f"{name}/manifest.json") for name in FORMATS)
    claim(workspace, BASE, str(base["run"]), overwrite or not delivered)
    workspace.write_json(BASE.manifest, dict(base))
    claim(workspace, Output(f"{form.name}/manifest.json", (), (form.name,)), run, overwrite)


def deliver_labels(
    context: Context,
    form: Format,
    scored: Sequence[Done[ScoredBlock]],
    exported: Sequence[Done[Exported]],
) -> dict[str, Any]:
    """Write LABELS/FORMAT/manifest.json last; returns it.

    Raises:
        InputError: no query gives a row; the message says why they were set aside.
    """
    told = counts(scored, exported)
    if not told["rows"]:
        raise InputError(
            f"No query gives a row of {form.name}: {_said(told['set_aside'])}.",
            "Loosen the filters under [label], or rank and score deeper.",
        )
    found = {
        "run": context.run,
        "format": form.name,
        "loss": form.loss,
        "source": form.source,
        "settings": context.settings.label.deciding(),
        "counts": told,
        "files": [to_json(done.made.rows) for done in exported if done.counts["rows"]],
        "ids": [to_json(done.made.ids) for done in exported if done.counts["rows"]],
        "scores": [to_json(done.made.scores) for done in scored],
    }
    context.workspace.write_json(f"{form.name}/manifest.json", found)
    return found


def counts(
    scored: Sequence[Done[ScoredBlock]], exported: Sequence[Done[Exported]]
) -> dict[str, Any]:
    """queries = used + set aside (by reason); pairs by what became of them add up too, and
    candidates = usable + not finite + the query itself."""
    aside, pairs = Counter[str](), Counter[str]()
    for done in exported:
        aside.update(done.made.reasons)
        pairs.update(done.made.pairs)
    candidates, broken, own = (
        total(scored, "rows"),
        total(scored, "not_finite"),
        total(exported, "itself"),
    )
    return {
        "candidates": candidates,
        "usable": candidates - broken - own,
        "not_finite": broken,
        "itself": own,
        "truncated": total(scored, "truncated"),
        "queries": total(exported, "queries"),
        "used": total(exported, "used"),
        "rows": total(exported, "rows"),
        "suspects": total(exported, "suspects"),
        "set_aside": dict(sorted(aside.items())),
        "pairs": dict(sorted(pairs.items())),
    }


def _said(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{count:,} queries: {reason}" for reason, count in reasons.items())
