"""Token vectors in few bits: the number of the nearest centroid, and 1, 2 or 4 bits for each
component of what is left (Santhanam et al. 2022, ColBERTv2, arXiv:2112.01488, section 3.3).

Here each component has cut-offs and weights of its own, where ColBERT has the same for all.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors.numpy import save

from shardrank.core.arrays import Float32, Int64
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.tensors import Held, read_tensors
from shardrank.core.token_vectors import TokenVectors, one_array, row_ends
from shardrank.kernels.k_means import nearest_centroids
from shardrank.kernels.residual_loops import Coded, decode_tokens, pack
from shardrank.kernels.score_loops import summation

Bytes = npt.NDArray[np.uint8]

_LAYOUT = {
    "centroids": Held(2),
    "cutoffs": Held(2),
    "weights": Held(2),
    "normalise": Held(1, (np.uint8,)),
}


@dataclass(frozen=True, eq=False)
class ResidualCodec:
    """What codes are of.

    Attributes:
        centroids: float32[k, d].
        cutoffs: float32[d, 2^bits - 1], ascending: how many of them lie below a component.
        weights: float32[d, 2^bits], what stands for each code.
        normalise: whether vectors are divided by their L2 norm when they are decoded.
    """

    centroids: Float32
    cutoffs: Float32
    weights: Float32
    normalise: bool

    @classmethod
    def of(cls, data: bytes) -> "ResidualCodec":
        """From the bytes of a safetensors file. Raises IntegrityError where they are not of one."""
        held = read_tensors(data, _LAYOUT, _broken)
        found = cls(
            centroids=held["centroids"].copy(),  # which may be written to, as a fitted one's
            cutoffs=held["cutoffs"],
            weights=held["weights"],
            normalise=bool(held["normalise"].any()),
        )
        shapes = [found.weights.shape, found.cutoffs.shape, held["normalise"].shape]
        levels = 1 << found.bits
        if shapes != [(found.dim, levels), (found.dim, levels - 1), (1,)]:
            raise _broken("holds tensors that do not belong together")
        return found

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        return save(
            {
                "centroids": self.centroids,
                "cutoffs": self.cutoffs,
                "weights": self.weights,
                "normalise": np.array([self.normalise], np.uint8),
            }
        )

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return int(self.centroids.shape[1])

    @property
    def bits(self) -> int:
        """Of a component."""
        return int(self.weights.shape[1]).bit_length() - 1

    @property
    def number_bytes(self) -> int:
        """Of a centroid's number: 2 or 4."""
        return 2 if len(self.centroids) <= 1 << 16 else 4

    @property
    def width(self) -> int:
        """Bytes of a token: the centroid's number, the lowest byte first, then the codes."""
        return self.number_bytes + self.dim * self.bits // 8

    def nearest(self, vectors: Float32) -> Int64:
        """int64[n], the number of each vector's centroid with the largest inner product, with the
        same result in any batch."""
        return nearest_centroids(vectors, self.centroids)

    def encode(self, vectors: Float32) -> Bytes:
        """uint8[n, width], of float32[n, d].

        Raises:
            InputError: a vector is not finite, or of another width.
        """
        _check(vectors, self.dim)
        numbers = self.nearest(vectors)
        found = np.empty((len(vectors), self.width), np.uint8)
        kind = f"<u{self.number_bytes}"
        found[:, : self.number_bytes] = (
            numbers.astype(kind).view(np.uint8).reshape(-1, self.number_bytes)
        )
        codes = np.empty((len(vectors), self.width - self.number_bytes), np.uint8)
        pack(np.ascontiguousarray(vectors), self.centroids, numbers, self.cutoffs, self.bits, codes)
        found[:, self.number_bytes :] = codes
        return found

    def decode(self, tokens: Bytes) -> Float32:
        """float32[n, d], of uint8[n, width].

        Raises:
            IntegrityError: the codes are of another codec.
        """
        coded, found = self.coded(tokens), np.empty((len(tokens), self.dim), np.float32)
        self.refuse(decode_tokens(coded, 0, len(tokens), found.reshape(-1)))
        return found

    def coded(self, tokens: Bytes) -> Coded:
        """uint8[n, width], as compiled loops read them; which `refuse` what is none of this codec.

        Raises:
            IntegrityError: the codes are of another width.
        """
        self._check_width(tokens)
        plan = summation(self.dim) if self.normalise else np.empty((0, 2), np.int64)
        flat = np.ascontiguousarray(tokens).reshape(-1).view()
        flat.setflags(write=False)  # as a column's: loops are compiled for each kind of array
        return Coded(
            flat,
            self.width,
            self.number_bytes,
            np.ascontiguousarray(self.centroids).reshape(-1),
            len(self.centroids),
            self.dim,
            np.ascontiguousarray(self.weights.T).reshape(-1),
            self.bits,
            plan,
        )

    def refuse(self, number: int) -> None:
        """Raises IntegrityError where compiled loops found a number that is none of a centroid."""
        if number >= 0:
            raise _of_another(f"centroid {number} of {len(self.centroids)}")

    def _check_width(self, tokens: Bytes) -> None:
        if tokens.shape[1] != self.width:
            raise _of_another(f"{tokens.shape[1]} bytes a token, not {self.width}")

    def numbers(self, tokens: Bytes) -> Int64:
        """int64[n]: the number of each token's centroid. Raises IntegrityError as `decode`."""
        self._check_width(tokens)
        front = np.ascontiguousarray(tokens[:, : self.number_bytes])
        numbers: Int64 = front.view(f"<u{self.number_bytes}").reshape(-1).astype(np.int64)
        largest = int(numbers.max(initial=0))
        self.refuse(largest if largest >= len(self.centroids) else -1)
        return numbers


def token_bytes(array: pa.ListArray) -> Bytes:
    """uint8[t, width] of a column List<FixedSizeBinary[width]>, all its tokens."""
    flat = array.flatten()
    width = flat.type.byte_width
    held = np.frombuffer(flat.buffers()[1] or b"", np.uint8)
    return held[flat.offset * width : (flat.offset + len(flat)) * width].reshape(-1, width)


def token_vectors(column: pa.Array | pa.ChunkedArray, codec: bytes | None) -> TokenVectors:
    """The token vectors of a stored column, whether it holds them or their codes.

    Args:
        column: List<FixedSizeList<fp16 or fp32>[d]> or List<FixedSizeBinary[width]>.
        codec: what the column's codes are of; none: it holds vectors.

    Raises:
        IntegrityError: the column and the codec do not belong together.
    """
    array = one_array(column)
    coded = pa.types.is_list(array.type) and pa.types.is_fixed_size_binary(array.type.value_type)
    if not coded or codec is None:
        return TokenVectors.of(array)
    return TokenVectors(row_ends(array), ResidualCodec.of(codec).decode(token_bytes(array)))


def _check(vectors: Float32, dim: int) -> None:
    if vectors.shape[1] != dim:
        raise InputError(
            f"Codes are of vectors of {dim} components, and these have {vectors.shape[1]}.",
            "Index again.",
        )
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} of {len(vectors)} token vectors are not finite, first {wrong[0]}.",
            "Run the encoder in fp32, or check its weights.",
        )


def _of_another(found: str) -> IntegrityError:
    return IntegrityError(
        f"Codes of token vectors are of another codec: {found}.",
        "Its file was damaged: index again.",
    )


def _broken(what: str) -> IntegrityError:
    return IntegrityError(f"A codec of token vectors {what}.", "Its file is damaged: index again.")
