"""A map from one encoder's vectors to another's, so that old ones serve beside new ones.

y = axes · (x - mean) + bias, and divided by its length where the new encoder's vectors are.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from shardrank.core.arrays import Float32
from shardrank.core.errors import IntegrityError

#: Orthogonal: turned, scaled and moved. Affine: by any matrix.
MapKind = Literal["orthogonal", "affine"]


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
        tensors: dict[str, npt.NDArray[Any]] = {
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
        try:
            found = load(data)
            kind, unit = (int(n) for n in found["numbers"])
            name = get_args(MapKind)[kind]
            made = cls(name, found["mean"], found["axes"], found["bias"], bool(unit))
        except (SafetensorError, KeyError, ValueError, IndexError) as error:
            raise _broken(str(error)) from error
        if made.axes.shape != (len(made.bias), len(made.mean)):
            raise _broken("holds tensors that do not belong together")
        return made


def _broken(what: str) -> IntegrityError:
    return IntegrityError(f"A map of vectors {what}.", "Its file is damaged: index again.")
