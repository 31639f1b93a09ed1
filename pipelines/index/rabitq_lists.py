"""Lists of RaBitQ codes: filled, kept as bytes, and decoded to 8-bit numbers.

The bytes are safetensors, so nothing in them is run; a codec is a shard without vectors.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from safetensors.numpy import save

from shardrank.core.arrays import Bool, Float32, Int8, Int16, Int32, Int64
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.tensors import Held, Tensors, read_tensors
from shardrank.index.list_major import rounded
from shardrank.index.prefix import Prefix
from shardrank.index.rabitq import Codes, Rabitq, UInt8
from shardrank.kernels.rabitq_loops import decode_rows

#: The largest 8-bit number in units of 1/256.
_MOST = 127 * 256

#: Of a component: sums of its squares are far from float32's limits.
_LARGEST = np.float32(1e15)

#: What the bytes hold. `seen` are the components that codes are of, whether they are normalised,
#: and the bits of each.
_LAYOUT = {
    "seen": Held(1, (np.int64,)),
    "signs": Held(2, (np.int8,)),
    "centroids": Held(2),
    "bases": Held(2),
    "ends": Held(1, (np.int64,)),
    "positions": Held(1, (np.int32,)),
    "codes": Held(2, (np.uint8,)),
    "factors": Held(1),
}


@dataclass(frozen=True, eq=False)
class RabitqLists:
    """The lists (protocol: StoredLists).

    Attributes:
        rabitq: what the codes are made by.
        ends: int64[nlist + 1], where each list begins.
        positions: int32[n], of the vectors.
        codes: uint8[n, bytes].
        factors: float32[n].
    """

    rabitq: Rabitq
    ends: Int64
    positions: Int32
    codes: UInt8
    factors: Float32

    @classmethod
    def of(cls, rabitq: Rabitq, blocks: Iterable[tuple[Int64, Float32]]) -> "RabitqLists":
        """Of vectors.

        Args:
            rabitq: what makes codes.
            blocks: (positions int64[n], vectors float32[n, d]), finite.

        Raises:
            InputError: a vector's components are so large that sums of their squares may not be
                finite.
        """
        pieces = list(_encoded(rabitq, blocks))
        lists = np.concatenate([np.empty(0, np.int64), *(codes.lists for _, codes in pieces)])
        order = np.argsort(lists, kind="stable")
        nlist = len(rabitq.centroids)
        ends = np.concatenate([[0], np.cumsum(np.bincount(lists, minlength=nlist))])
        positions = np.concatenate([np.empty(0, np.int32), *(where for where, _ in pieces)])
        nothing = np.empty((0, rabitq.code_bytes), np.uint8)
        codes = np.concatenate([nothing, *(codes.codes for _, codes in pieces)])
        factors = np.concatenate([np.empty(0, np.float32), *(codes.factors for _, codes in pieces)])
        return cls(rabitq, ends, positions[order], codes[order], factors[order])

    @classmethod
    def load(cls, data: bytes) -> "RabitqLists":
        """From `to_bytes`. Raises IntegrityError where they are not such bytes."""
        tensors = read_tensors(data, _LAYOUT, _broken)
        _check(tensors)
        dim, unit, bits = (int(each) for each in tensors["seen"])
        made = [tensors[name] for name in ("signs", "centroids", "bases")]
        rabitq = Rabitq(Prefix(dim, bool(unit)), bits, *made)
        return cls(rabitq, *(tensors[n] for n in ("ends", "positions", "codes", "factors")))

    def to_bytes(self) -> bytes:
        """The same lists give the same bytes."""
        made = self.rabitq
        seen = np.array([made.prefix.dim, made.prefix.unit, made.bits], np.int64)
        tensors: Tensors = {
            "seen": seen,
            "signs": made.signs,
            "centroids": made.centroids,
            "bases": made.bases,
            "ends": self.ends,
            "positions": self.positions,
            "codes": self.codes,
            "factors": self.factors,
        }
        return bytes(save({name: np.ascontiguousarray(value) for name, value in tensors.items()}))

    @property
    def size(self) -> int:
        return len(self.positions)

    @cached_property
    def centroids(self) -> Int8:
        values = self.rabitq.centroids
        return rounded(values.reshape(1, -1)).reshape(values.shape)

    def rotated(self, queries: Float32) -> Float32:
        return self.rabitq.turned(queries)

    def scaled(self, rotated: Float32) -> Float32:
        return rotated

    def rows(self, number: int, live: Bool | None) -> tuple[Int64, Int8]:
        mine = slice(self.ends[number], self.ends[number + 1])
        positions, codes = self.positions[mine].astype(np.int64), self.codes[mine]
        heights = self._heights(self.factors[mine])
        if live is not None:
            kept = live[positions]
            positions, codes, heights = positions[kept], codes[kept], heights[kept]
        out = np.empty((len(positions), self.rabitq.prefix.dim), np.int8)
        base = np.rint(self.rabitq.bases[number] * self._unit).astype(np.int16)
        decode_rows(codes, heights, base, self.rabitq.bits, out)
        return positions, out

    def _heights(self, factors: Float32) -> Int16:
        """int16[n]: half the distance between a row's levels."""
        heights: Int16 = np.rint(factors * (self._unit / 2)).astype(np.int16)
        return heights

    @cached_property
    def _unit(self) -> np.float32:
        """One scale for all rows, by which no component of any is more than an 8-bit number."""
        largest = np.abs(self.rabitq.bases).max(axis=1)
        filled = np.flatnonzero(np.diff(self.ends))
        if len(filled):
            outermost = np.float32((1 << self.rabitq.bits) - 1) / 2
            factors = np.maximum.reduceat(self.factors, self.ends[filled])
            largest[filled] += factors * outermost
        peak = largest.max()
        return np.float32(_MOST / peak if peak > 0 else 0)


def _encoded(
    rabitq: Rabitq, blocks: Iterable[tuple[Int64, Float32]]
) -> Iterator[tuple[Int32, Codes]]:
    for positions, vectors in blocks:
        turned = rabitq.turned(vectors)
        if np.abs(turned).max(initial=0) > _LARGEST or not np.isfinite(turned).all():
            raise InputError(
                f"Vectors at positions {positions[0]} to {positions[-1]} are too large for codes "
                "of kind ivfrabitq.",
                "Normalise the vectors, or set index.kind = exact.",
            )
        yield positions.astype(np.int32), rabitq.encode(turned)


def _check(tensors: Tensors) -> None:
    if len(tensors["seen"]) != 3 or tensors["seen"][2] not in (1, 2, 4):
        raise _broken(f"says {tensors['seen'].tolist()} of its codes")
    if (wrong := _misshapen(tensors)) is not None:
        raise _broken(f"has {wrong} of shape {tensors[wrong].shape}")
    ends, positions, factors = (tensors[name] for name in ("ends", "positions", "factors"))
    if ends[0] != 0 or ends[-1] != len(positions) or (ends[1:] < ends[:-1]).any():
        raise _broken("has lists that do not follow one another")
    if not np.isfinite(factors).all() or (factors < 0).any() or (positions < 0).any():
        raise _broken("has factors or positions that are negative, or not finite")


def _misshapen(tensors: Tensors) -> str | None:
    """The name of a tensor that does not go with the others."""
    dim, _, bits = tensors["seen"].tolist()
    lists, rows = len(tensors["centroids"]), len(tensors["positions"])
    shapes = {
        "signs": (len(tensors["signs"]), dim),
        "centroids": (lists, dim),
        "bases": (lists, dim),
        "ends": (lists + 1,),
        "codes": (rows, -(-dim * bits // 8)),
        "factors": (rows,),
    }
    return next((name for name, shape in shapes.items() if tensors[name].shape != shape), None)


def _broken(what: str) -> IntegrityError:
    return IntegrityError(f"A shard of RaBitQ codes {what}.", "Build the shard again.")
