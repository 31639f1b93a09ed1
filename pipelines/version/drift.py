"""When a codec is trained anew, and when it is kept: the rule, without I/O.

A codec serves as long as the [index] settings are those it was made from and the corpus is of the
size it was made for. Its lists are 4·sqrt(N): up to a factor of SIZE_FACTOR in N they are at most
twice too few or too many, which costs less than training. And its codes must lose no more of the
vectors than they lost of its own training sample, but for `compact.max_drift`. Last, an index that
a kept codec leaves below the audit's target gets a new one before it is refused.
"""

from collections.abc import Sequence

from shardrank.version.indexes import Codec, Shard
from shardrank.version.parts import Part

#: The corpus may grow or shrink by this factor before its codec's sizes are planned anew.
SIZE_FACTOR = 4


def outgrown(codec: Codec, passages: int) -> bool:
    """Whether the corpus has left the size that the codec was made for."""
    return not codec.passages / SIZE_FACTOR < passages < codec.passages * SIZE_FACTOR


def drifted(codec: Codec, shards: Sequence[Shard], parts: Sequence[Part], limit: float) -> bool:
    """Whether the codes lose more than they lost of the training sample, by a share of `limit`."""
    return mean_error(shards, parts) > codec.error * (1 + limit)


def mean_error(shards: Sequence[Shard], parts: Sequence[Part]) -> float:
    """The shards' mean error, each as heavy as its live passages."""
    live = [sum(parts[n].live.passages for n in shard.parts) for shard in shards]
    errors = (shard.error * weight for shard, weight in zip(shards, live, strict=True))
    return sum(errors) / max(1, sum(live))
