"""Which kind of index is made over a column, by the family of its encoder."""

from collections.abc import Callable
from functools import partial

from shardrank.core.cards import LateCard
from shardrank.stages.index.binary_index import binary_index
from shardrank.stages.index.inverted_index import inverted_index
from shardrank.stages.index.token_index import token_index
from shardrank.stages.index.vector_index import vector_index
from shardrank.stages.index.wanted import WantedIndex
from shardrank.stages.run.runner import Context
from shardrank.version.indexes import Index

_MAKERS: dict[str, Callable[[Context, WantedIndex], Index]] = {
    "dense": vector_index,
    "bm25": partial(inverted_index, counted=True),
    "sparse": partial(inverted_index, counted=False),
    "late": token_index,
    "bits": binary_index,
    "muvera": vector_index,
    "learned": vector_index,
    "anchors": vector_index,
    "image": vector_index,
    "views": token_index,
}

#: Kinds that stand for no index: over one vector of a passage, and over several.
_NONE = (("none",), ("none", "auto"))


def has_index(wanted: WantedIndex) -> bool:
    """Whether there shall be an index over the column: over several vectors of a passage where it
    is asked for; over texts there is none."""
    card, kind = wanted.encoder.card, wanted.settings.kind
    return kind not in _NONE[isinstance(card, LateCard)] and card.family in _MAKERS


def make_index(context: Context, wanted: WantedIndex) -> Index:
    """The index that is wanted, over all of its parts."""
    return _MAKERS[wanted.encoder.card.family](context, wanted)
