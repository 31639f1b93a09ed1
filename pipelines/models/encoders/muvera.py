"""One vector for all token vectors of a text (Dhulipala et al. 2024, MUVERA: Multi-Vector Retrieval
via Fixed Dimensional Encodings, arXiv:2405.19504, section 2).

A space is cut into 2^k cells by k random planes. A query's vector holds for each cell the *sum* of
its tokens there, a passage's their *mean*; so their inner product adds up, over the query's tokens,
the product of each with the mean of the passage's tokens in the same cell: about the largest one,
if cells hold what is alike. A cell where a passage has no token takes the one that most planes put
on its side. Cells of several spaces stand beside each other, each vector projected by random signs,
and all of it may be projected once more. None of that needs a sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Float32, Int64
from shardrank.core.arrow_columns import vector_column
from shardrank.core.muvera_settings import MuveraSettings
from shardrank.core.token_vectors import TokenVectors
from shardrank.kernels.residual_codes import token_vectors
from shardrank.kernels.rotation_loops import along

#: Tokens that are cut and projected at once, about: some 100 MB.
_TOKENS = 1 << 15

#: Texts whose tokens are decoded at once.
_TEXTS = 256


@dataclass(frozen=True, eq=False)
class Space:
    """A cut of the space, and how the vectors of its cells are projected: by products that are
    added in one order, so that a token's are the same beside any others.

    Attributes:
        planes: float32[d, k], normals of its planes.
        projection: float32[d, p], of signs divided by the root of p; None: nothing is projected.
    """

    planes: Float32
    projection: Float32 | None

    def cells(self, vectors: Float32) -> Int64:
        """int64[t]: the cell of each of float32[t, d]; bit j is set on the far side of plane j."""
        sides = along(vectors, self.planes.T) > 0
        bits: Int64 = sides @ (1 << np.arange(self.planes.shape[1], dtype=np.int64))
        return bits

    def projected(self, vectors: Float32) -> Float32:
        """float32[t, p] of float32[t, d]."""
        return vectors if self.projection is None else along(vectors, self.projection.T)


@dataclass(frozen=True, eq=False)
class Muvera:
    """Token vectors → one vector a text (protocol: ColumnEncoder).

    Attributes:
        settings: how they are made.
        width: components d of a token's vector.
        source: the codec of the column of token vectors, if it holds codes.
    """

    settings: MuveraSettings
    width: int
    source: bytes | None

    def column(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp16>[dim] of passages; one without tokens has zeros."""
        dim = self.settings.dim or self._whole
        found = np.empty((len(read), dim), np.float16)
        with np.errstate(over="ignore"):  # infinite: whoever asked refuses it
            for at in range(0, len(read), _TEXTS):
                tokens = token_vectors(read.slice(at, _TEXTS), self.source)
                found[at : at + _TEXTS] = self._made(tokens, means=True)
        return vector_column(found)

    def queries(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp32>[dim] of queries."""
        return vector_column(self._made(token_vectors(read, None), means=False))

    @cached_property
    def spaces(self) -> list[Space]:
        """Drawn from the seed, the same on every machine."""
        draw = np.random.default_rng([self.settings.seed, 1])
        return [self._space(draw) for _ in range(self.settings.repetitions)]

    def _space(self, draw: np.random.Generator) -> Space:
        inner, planes = self.settings.inner, self.settings.planes
        normals = draw.standard_normal((self.width, planes)).astype(np.float32)
        if inner is None:
            return Space(normals, None)
        signs = draw.integers(0, 2, (self.width, inner)) * 2 - 1
        return Space(normals, (signs / np.sqrt(inner)).astype(np.float32))

    @cached_property
    def _sketch(self) -> tuple[Int64, Float32] | None:
        """Of the second projection, a count sketch (Charikar et al. 2002): each component is added
        to one of `dim` places, as it is or negated."""
        dim, whole = self.settings.dim, self._whole
        if dim is None:
            return None
        draw = np.random.default_rng([self.settings.seed, 2])
        return draw.integers(0, dim, whole), (draw.integers(0, 2, whole) * 2 - 1).astype(np.float32)

    @property
    def _whole(self) -> int:
        width = self.settings.inner or self.width
        return self.settings.repetitions * width << self.settings.planes

    def _made(self, tokens: TokenVectors, means: bool) -> Float32:
        pieces = [self._sketched(self._whole_vectors(some, means)) for some in _pieces(tokens)]
        none = np.zeros((0, self.settings.dim or self._whole), np.float32)
        return np.concatenate([none, *pieces])

    def _whole_vectors(self, tokens: TokenVectors, means: bool) -> Float32:
        """float32[n, whole]: the cells of all spaces beside each other."""
        cells = 1 << self.settings.planes
        each = [_of_cells(tokens, space, cells, means) for space in self.spaces]
        return np.concatenate(each, axis=1)

    def _sketched(self, vectors: Float32) -> Float32:
        if self._sketch is None:
            return vectors
        places, signs = self._sketch
        order = np.argsort(places, kind="stable")
        dim = self.settings.dim
        assert dim is not None
        found = np.zeros((len(vectors), dim), np.float32)
        held, begins = np.unique(places[order], return_index=True)
        found[:, held] = np.add.reduceat((vectors * signs)[:, order], begins, axis=1)
        return found


def _pieces(tokens: TokenVectors) -> Iterator[TokenVectors]:
    """Runs of texts with so many tokens together, about; at least one text each."""
    starts, begin = [0] if tokens.rows else [], 0
    for row in range(tokens.rows):
        if tokens.ends[row + 1] - tokens.ends[begin] > _TOKENS and row > begin:
            starts.append(row)
            begin = row
    for first, last in pairwise([*starts, tokens.rows]):
        ends = tokens.ends[first : last + 1]
        yield TokenVectors(ends - ends[0], tokens.vectors[ends[0] : ends[-1]])


def _of_cells(tokens: TokenVectors, space: Space, cells: int, means: bool) -> Float32:
    """float32[n, cells * p]: what the tokens of each text come to in each cell of a space."""
    bits, vectors = space.cells(tokens.vectors), space.projected(tokens.vectors)
    text = np.repeat(np.arange(tokens.rows), np.diff(tokens.ends))
    place = text * cells + bits
    order = np.argsort(place, kind="stable")
    held, begins, counts = np.unique(place[order], return_index=True, return_counts=True)
    found = np.zeros((tokens.rows * cells, vectors.shape[1]), np.float32)
    if len(held):
        found[held] = np.add.reduceat(vectors[order], begins, axis=0)
    if means:
        found[held] /= counts[:, None].astype(np.float32)
        _fill(found, held, vectors, _nearest_tokens(tokens, bits, cells))
    return found.reshape(tokens.rows, -1)


def _fill(found: Float32, held: Int64, vectors: Float32, nearest: Int64) -> None:
    """Cells of passages that no token lies in get the token that is nearest to them; those of a
    passage without tokens stay zeros."""
    empty = nearest >= 0
    empty[held] = False
    found[empty] = vectors[nearest[empty]]


def _nearest_tokens(tokens: TokenVectors, bits: Int64, cells: int) -> npt.NDArray[np.int64]:
    """int64[n * cells]: of each text and cell the first token on whose side most planes have the
    cell; -1 where the text has none."""
    differing = np.bitwise_count(bits[:, None] ^ np.arange(cells)).astype(np.int64)
    ranked = differing * max(1, len(bits)) + np.arange(len(bits))[:, None]
    nearest = np.full((tokens.rows, cells), -1, np.int64)
    some = np.diff(tokens.ends) > 0
    if some.any():
        best = np.minimum.reduceat(ranked, tokens.ends[:-1][some], axis=0)
        nearest[some] = best % len(bits)
    return nearest.ravel()
