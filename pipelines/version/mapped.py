"""Documents that are still served through a map from the encoder before: how, which, until when."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from shardrank.core.cards import EncoderCard
from shardrank.core.files import FileRef
from shardrank.core.index_settings import BackfillSettings
from shardrank.core.model_settings import DENSE
from shardrank.core.settings_base import DECIDING
from shardrank.core.space_map import MapKind
from shardrank.version.parts import Part


@dataclass(frozen=True)
class Mapped:
    """How a version serves documents that its first encoder has not embedded yet.

    Attributes:
        before: the encoder that embedded them; their passages are cut by its tokens.
        map: from its vectors to the present encoder's; they are stored mapped.
        kind: of the map.
        recall: Recall@10 through the map against the present encoder's vectors, among so many
            `measured` passages that both have seen; the map was fitted on others.
        measured: passages.
        documents: that were served so when the map was made.
        settings: of the run that made it; what later ones do not set stays.
        not_finite: passages of the sample that the present encoder gives no finite vector, and that
            nothing was learnt of; when their turn comes their documents are rejected.
    """

    before: EncoderCard
    map: FileRef
    kind: MapKind
    recall: float
    measured: int
    documents: int
    settings: Annotated[BackfillSettings, DECIDING]
    not_finite: int = 0


def is_mapped(part: Part) -> bool:
    """Whether the part's vectors come out of a map."""
    return part.columns[DENSE].mapped


def mapped_documents(parts: Sequence[Part]) -> int:
    """Live ones that are served through a map."""
    return sum(part.live.documents for part in parts if is_mapped(part))


def still(mapped: Mapped | None, parts: Sequence[Part]) -> Mapped | None:
    """What a version of these parts says of the map: nothing, as soon as nothing needs it."""
    return mapped if any(is_mapped(part) for part in parts) else None


def due(old: Sequence[tuple[int, Part]], documents: int, share: float) -> list[int]:
    """Which old parts are embedded tonight: the first ones, which are the oldest, until they hold
    the share.

    Args:
        old: parts that the present encoder has not embedded, by their ordinals, ascending.
        documents: that the share is of: those that were old when the backfill began.
        share: of a night.

    Whole parts only, so that they go at once and at least one a night does.
    """
    left, chosen = math.ceil(share * documents), []
    for ordinal, part in old:
        if left <= 0:
            break
        if part.live.documents:
            chosen.append(ordinal)
            left -= part.live.documents
    return chosen
