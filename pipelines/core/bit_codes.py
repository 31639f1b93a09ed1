"""Vectors as one or two bits for each component.

A vector x is centred and may be rotated: y = R(x - m). One bit says its signs, b = sign(y), and y
is about s·b, of a step s for each component. A second one is b' = sign(y - s·b), and y is about
s·(b + b'/2): the recurrent binarisation of Gan et al. (Binary Embedding-based Retrieval at Tencent,
KDD 2023, arXiv 2302.08714), each code the sign of what those before leave, at half the weight, with
a rotation where the paper trains networks. The sign of 0 is 1.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from shardrank.core.arrays import Float32, Int8
from shardrank.core.errors import IntegrityError
from shardrank.core.tensors import Held, Tensors, read_tensors

UInt8 = npt.NDArray[np.uint8]

_LAYOUT = {
    "mean": Held(1),
    "steps": Held(1),
    "numbers": Held(1, (np.int64,)),
    "axes": Held(2, optional=True),
}

#: Bits of a byte.
_BYTE = 8


@dataclass(frozen=True, eq=False)
class BitsCodec:
    """What makes codes of vectors of d components.

    Attributes:
        mean: float32[d], that of a sample.
        axes: float32[d, d], whose rows are orthonormal: R; or None: vectors are not rotated.
        steps: float32[d], s, at least 0.
        bits: for each component, 1 or 2.
        symmetric: whether codes are compared with a query's code, instead of its vector.
    """

    mean: Float32
    axes: Float32 | None
    steps: Float32
    bits: int
    symmetric: bool

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return len(self.mean)

    @property
    def code_bytes(self) -> int:
        """Bytes of a code: the first bits of all components, then the second ones."""
        return self.bits * plane_bytes(self.dim)

    def to_bytes(self) -> bytes:
        """As safetensors."""
        numbers = np.array([self.bits, self.symmetric], np.int64)
        tensors: Tensors = {
            "mean": self.mean,
            "steps": self.steps,
            "numbers": numbers,
        }
        if self.axes is not None:
            tensors["axes"] = self.axes
        return save(tensors)

    @classmethod
    def of(cls, data: bytes) -> "BitsCodec":
        """The way back.

        Raises:
            IntegrityError: they are not such bytes.
        """
        found = read_tensors(data, _LAYOUT, _broken)
        if len(found["numbers"]) != 2:
            raise _broken("holds tensors that do not belong together")
        bits, symmetric = found["numbers"].tolist()
        made = cls(found["mean"], found.get("axes"), found["steps"], bits, bool(symmetric))
        made._check()
        return made

    def _check(self) -> None:
        square = self.axes is None or self.axes.shape == (self.dim, self.dim)
        if self.bits not in (1, 2) or self.steps.shape != self.mean.shape or not square:
            raise _broken("holds tensors that do not belong together")


def plane_bytes(dim: int) -> int:
    """Bytes of one bit for each of so many components."""
    return -(-dim // _BYTE)


def packed(values: Float32, codec: BitsCodec) -> UInt8:
    """Codes uint8[n, code_bytes] of centred and rotated vectors float32[n, d].

    Component i is bit i % 8 of byte i // 8; what is left of the last byte is 0.
    """
    first = values >= 0
    planes = [first]
    if codec.bits == 2:
        planes.append(values - np.where(first, codec.steps, -codec.steps) >= 0)
    return np.concatenate([np.packbits(p, axis=1, bitorder="little") for p in planes], axis=1)


def code_values(codes: UInt8, dim: int, bits: int) -> Int8:
    """int8[n, d] of uint8[n, code_bytes]: what codes stand for, as whole numbers.

    With one bit b, which is 1 or -1; with two 2·b + b', which is twice b + b'/2: 3, 1, -1 or -3.
    """
    width = plane_bytes(dim)
    first, *second = (
        np.unpackbits(codes[:, begin : begin + width], axis=1, count=dim, bitorder="little")
        for begin in range(0, bits * width, width)
    )
    signs = 2 * first.view(np.int8) - 1
    return signs if not second else 2 * signs + (2 * second[0].view(np.int8) - 1)


def _broken(what: str) -> IntegrityError:
    return IntegrityError(f"A codec of binary codes {what}.", "Its file is damaged: index again.")
