"""How many vectors a shard's file holds, of whichever kind it is."""

from shardrank.index.inverted import InvertedShard
from shardrank.index.shard import shard_size as vectors_in
from shardrank.version.sizing import Kind


def shard_size(kind: Kind, data: bytes) -> int:
    """Of the bytes of a shard, after their sha256 was checked; of an inverted one its passages."""
    return InvertedShard.load(data).rows if kind == "inverted" else vectors_in(data)
