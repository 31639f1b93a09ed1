"""One learnt vector for all token vectors of a text (in the manner of LEMUR: Learned Multi-Vector
Retrieval, Jääsaari et al. 2026, arXiv:2601.21853).

For a token x and a passage d let y_d(x) = max_j x·d_j. A network with one hidden layer is trained
to foretell y_d(x) of many tokens for some passages at once. What its hidden layer makes of a token,
φ(x), is kept, and with a 1 beside it serves all passages: the vector W_d of a passage is the one by
which φ(x)·W_d is nearest to y_d(x) over some fixed tokens x, by ridge regression. The sum over a
query's tokens, Σ φ(q_i)·W_d, is then about its MaxSim with the passage.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from safetensors.numpy import save

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import vector_column
from shardrank.core.errors import IntegrityError
from shardrank.core.tensors import Held, read_tensors
from shardrank.core.token_vectors import TokenVectors
from shardrank.kernels.maxsim_loops import largest_floats, lay_queries
from shardrank.kernels.residual_codes import token_vectors
from shardrank.kernels.rotation_loops import along

_LAYOUT = {"weights": Held(2), "bias": Held(1), "tokens": Held(2)}

#: Of the ridge regression, as a share of the mean square of a feature.
_RIDGE = 1e-3

#: Texts whose tokens are decoded at once.
_TEXTS = 256


@dataclass(frozen=True, eq=False)
class LearnedCodec:
    """What was learnt of token vectors of d components.

    Attributes:
        weights: float32[d, m], of the hidden layer.
        bias: float32[m].
        tokens: float32[n, d], the fixed tokens x.
    """

    weights: Float32
    bias: Float32
    tokens: Float32

    def to_bytes(self) -> bytes:
        """As safetensors."""
        return save({"weights": self.weights, "bias": self.bias, "tokens": self.tokens})

    @classmethod
    def of(cls, data: bytes) -> "LearnedCodec":
        """The way back. Raises IntegrityError where they are not such bytes."""
        made = cls(**read_tensors(data, _LAYOUT, _broken))
        if made.weights.shape != (made.tokens.shape[1], len(made.bias)):
            raise _broken("holds tensors that do not belong together")
        return made

    def features(self, vectors: Float32) -> Float32:
        """float32[t, m + 1] of float32[t, d]: φ, and a 1."""
        hidden = np.maximum(_products(vectors, self.weights.T) + self.bias, 0)
        return np.concatenate([hidden, np.ones((len(hidden), 1), np.float32)], axis=1)

    @cached_property
    def solver(self) -> Float32:
        """float32[m + 1, n]: from y_d of the fixed tokens to W_d, (ΦᵀΦ + λI)⁻¹ Φᵀ; by torch, as
        `_products`."""
        import torch

        phi = torch.from_numpy(self.features(self.tokens).astype(np.float64))
        gram = phi.T @ phi
        gram.diagonal().add_(_RIDGE * gram.trace() / len(gram))
        found: Float32 = torch.linalg.solve(gram, phi.T).float().numpy()
        return np.ascontiguousarray(found)


@dataclass(frozen=True, eq=False)
class Learned:
    """Token vectors → one vector a text (protocol: ColumnEncoder).

    Attributes:
        codec: what was learnt.
        source: the codec of the column of token vectors, if it holds codes.
    """

    codec: LearnedCodec
    source: bytes | None

    def column(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp16>[dim] of passages; one without tokens has zeros."""
        found = np.empty((len(read), len(self.codec.solver)), np.float16)
        with np.errstate(over="ignore"):  # infinite: whoever asked refuses it
            for at in range(0, len(read), _TEXTS):
                tokens = token_vectors(read.slice(at, _TEXTS), self.source)
                largest = largest_products(self.codec.tokens, tokens)
                found[at : at + _TEXTS] = along(largest, self.codec.solver)
        return vector_column(found)

    def queries(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp32>[dim] of queries."""
        tokens = token_vectors(read, None)
        each = [self.codec.features(tokens.text(row)).sum(axis=0) for row in range(tokens.rows)]
        none = np.zeros((0, self.codec.solver.shape[0]), np.float32)
        return vector_column(np.concatenate([none, *(row[None] for row in each)]))


def largest_products(fixed: Float32, passages: TokenVectors) -> Float32:
    """float32[n, f]: of each of n passages and f fixed tokens the largest product with one of its
    tokens; 0 where it has none. A passage's bits do not depend on the others.

    Raises:
        IntegrityError: the fixed tokens have other components than the passages'.
    """
    width = fixed.shape[1]
    if passages.vectors.shape[1] != width:
        raise _broken(f"is of {width} components, and the tokens have {passages.vectors.shape[1]}")
    one = np.zeros(1, np.int64), np.array([len(fixed)])
    asked = lay_queries(np.ascontiguousarray(fixed).reshape(-1), *one, width)
    found = np.empty((passages.rows, len(fixed)), np.float32)
    largest_floats(asked, np.ascontiguousarray(passages.vectors).reshape(-1), passages.ends, found)
    return found


def _products(left: Float32, right: Float32) -> Float32:
    """float32[n, m] inner products of the rows of float32[n, d] and float32[m, d], which are those
    of one text, or of the fixed tokens, since the bits of each depend on how many there are. By
    torch, which the caller keeps to one thread: numpy takes as many as it likes, and other last
    bits come of other numbers of them."""
    import torch

    both = (torch.from_numpy(np.require(each, requirements="W")) for each in (left, right))
    product: Float32 = (next(both) @ next(both).T).numpy()
    return product


def _broken(what: str) -> IntegrityError:
    return IntegrityError(f"A codec of learnt vectors {what}.", "Its file is damaged: index again.")
