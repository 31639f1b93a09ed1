"""A map from one encoder's vectors to another's, so that old ones serve beside new ones.

y = axes · (x - mean) + bias, and divided by its length where the new encoder's vectors are.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from safetensors.numpy import save

from shardrank.core.arrays import Float32
from shardrank.core.errors import IntegrityError
from shardrank.core.tensors import Held, Tensors, read_tensors

#: Orthogonal: turned, scaled and moved. Affine: by any matrix.
MapKind = Literal["orthogonal", "affine"]

_LAYOUT = {"mean": Held(1), "axes": Held(2), "bias": Held(1), "numbers": Held(1, (np.int64,))}


@dataclass(frozen=True, eq=False)
class SpaceMap:
    """Of vectors of d components to vectors of e.

    Attributes:
        kind: how it was fitted.
        mean: float32[d], that of the old vectors that it was fitted on.
        axes: float32[e, d].
        bias: float32[e], the mean of the new ones.
        unit: whether what comes out is divided by its L2 norm.
    """

    kind: MapKind
    mean: Float32
    axes: Float32
    bias: Float32
    unit: bool

    def to_bytes(self) -> bytes:
        """As safetensors."""
        numbers = np.array([get_args(MapKind).index(self.kind), self.unit], np.int64)
        tensors: Tensors = {
            "mean": self.mean,
            "axes": np.ascontiguousarray(self.axes),
            "bias": self.bias,
            "numbers": numbers,
        }
        return save(tensors)

    @classmethod
    def of(cls, data: bytes) -> "SpaceMap":
        """The way back.

        Raises:
            IntegrityError: they are not such bytes.
        """
        found = read_tensors(data, _LAYOUT, _broken)
        mean, axes, bias, numbers = (found[name] for name in _LAYOUT)
        kinds = get_args(MapKind)
        whole = len(numbers) == 2 and 0 <= numbers[0] < len(kinds)
        if not whole or axes.shape != (len(bias), len(mean)):
            raise _broken("holds tensors that do not belong together")
        return cls(kinds[numbers[0]], mean, axes, bias, bool(numbers[1]))


def _broken(what: str) -> IntegrityError:
    return IntegrityError(f"A map of vectors {what}.", "Its file is damaged: index again.")
