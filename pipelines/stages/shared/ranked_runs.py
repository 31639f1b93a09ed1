"""What a ranking's folder says of itself: OUT/manifest.json, written last, for whoever reads it."""

from collections.abc import Mapping
from dataclasses import dataclass

from shardrank.core.errors import InputError
from shardrank.core.files import FileRef
from shardrank.core.papers import from_json, to_json
from shardrank.core.same_ids import SameIds
from shardrank.stages.run.workspace import Workspace

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class RankedBlock:
    """A block of queries, their vectors, their hits, and the reranker's scores of them: query,
    part, row, logit, truncated."""

    queries: FileRef
    vectors: FileRef
    hits: FileRef
    scores: tuple[FileRef, ...]


@dataclass(frozen=True)
class ScoredPairs:
    """How many pairs a reranker scored, and could not."""

    scored: int
    not_finite: int


@dataclass(frozen=True)
class RankedRun:
    """A finished ranking.

    Attributes:
        run: names it from its inputs and settings.
        index_version, index_content: the number of the version that it searched, and the
            fingerprint of its content.
        encoder, reranker: fingerprints of the models' cards.
        queries, queries_rejected: how many were ranked, and how many could not be.
        same_ids: hits that have their query's own id.
        rankings: RANKINGS, a file a block.
        files: what lies beside them, by name.
    """

    run: str
    index_version: int
    index_content: str
    encoder: str
    reranker: str | None
    queries: int
    queries_rejected: int
    pairs: ScoredPairs
    same_ids: SameIds
    blocks: tuple[RankedBlock, ...]
    rankings: tuple[FileRef, ...]
    files: Mapping[str, FileRef]


def write_ranked(workspace: Workspace, ranked: RankedRun) -> None:
    """Say that the ranking is finished."""
    workspace.write_json(MANIFEST, to_json(ranked))


def read_ranked(workspace: Workspace) -> RankedRun:
    """Raises InputError where the folder holds no finished ranking, or one of another shardrank."""
    root = workspace.storage.root
    if not workspace.storage.exists(MANIFEST):
        raise InputError(
            f"{root} holds no finished ranking.", "Make one: shardrank rank INDEX QUERIES OUT."
        )
    try:
        return from_json(RankedRun, workspace.read_json(MANIFEST))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{root}/{MANIFEST} is not the manifest of a ranking by this shardrank ({error}).",
            "Name the OUT of shardrank rank; or give the rank command again, with --overwrite.",
        ) from error
