"""How large the codec and the shards of a planned index are, and what making them takes."""

from dataclasses import dataclass

from shardrank.version.sizing import CodecPlan


@dataclass(frozen=True)
class Sizes:
    """Estimates in bytes, and the number of shards.

    `vectors` is what the parts store; `shard` one full shard file; `training` and `build` the
    memory that one process needs at most for either.
    """

    vectors: int
    codec: int
    shards: int
    shard: int
    training: int
    build: int


def estimate(
    plan: CodecPlan, passages: int, dim: int, shard_passages: int, component_bytes: int = 2
) -> Sizes:
    """Sizes of the index that `plan` gives.

    Args:
        plan: from `plan_codec`.
        passages: vectors in all.
        dim: components of a vector.
        shard_passages: vectors in a shard, at most.
        component_bytes: 2 where vectors are stored as fp16, 4 as fp32.
    """
    vectors = passages * dim * component_bytes
    if plan.kind == "exact":
        return Sizes(vectors, codec=0, shards=0, shard=0, training=0, build=0)
    seen = plan.searched(dim)
    codec = _codec_rows(plan, seen) * seen * 4
    shard = codec + min(passages, shard_passages) * (plan.code_bytes + plan.place_bytes)
    # Training: the sample, its cut or rotated copies, what k-means draws. Building: the shard while
    # it grows, and serialised.
    copied = (2 if plan.opq or plan.kind == "ivfrabitq" else 1) + (plan.dim > 0)
    training = codec + plan.train_rows * 4 * (dim + seen * copied)
    shards = -(-passages // shard_passages)
    return Sizes(vectors, codec, shards, shard, training, build=3 * shard)


def _codec_rows(plan: CodecPlan, seen: int) -> int:
    """Rows of the codec's matrices: centroids, what codes stand for, and the rotation."""
    if plan.kind == "ivfrabitq":
        return 2 * plan.nlist + 1  # lists' means; signs of four rounds, a byte each
    tables = 1 << plan.pq_bits if plan.kind == "ivfpq" else 2  # centroids; or least and width
    return plan.nlist + tables + (seen if plan.opq else 0)
