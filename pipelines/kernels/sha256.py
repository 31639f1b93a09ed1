"""SHA-256 of many short texts, by what is fastest on this CPU."""

from shardrank.core.arrays import Int64
from shardrank.kernels.machine import has_sha, has_wide_vectors
from shardrank.kernels.sha256_loops import UInt32, sha256_in_lanes
from shardrank.kernels.sha256_pairs import sha256_in_pairs

__all__ = ["UInt32", "sha256_all"]


def sha256_all(begins: Int64, ends: Int64) -> UInt32:
    """uint32[n, 8]: the digests of texts, as big-endian words' values.

    With AVX-512 sixteen in lanes are faster than two by the instructions for SHA-256, with AVX2
    these are.

    Args:
        begins, ends: int64[n], the addresses where each text begins and ends.
    """
    pairs = has_sha() and not has_wide_vectors()
    return (sha256_in_pairs if pairs else sha256_in_lanes)(begins, ends)
