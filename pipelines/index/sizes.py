"""How many vectors a shard's file holds, of whichever kind it is."""

from shardrank.index.inverted import InvertedShard
from shardrank.index.plaid import CentroidLists
from shardrank.index.shard import shard_size as vectors_in
from shardrank.version.sizing import Kind


def shard_size(kind: Kind, data: bytes) -> int:
    """Of the bytes of a shard, after their sha256 was checked; of an inverted one, or one of token
    vectors, its passages."""
    if kind == "plaid":
        return CentroidLists.load(data).rows
    return InvertedShard.load(data).rows if kind == "inverted" else vectors_in(data)
