"""What a column of a cross-encoder's scores was made with: its anchors, and the factor between.

With C the scores of all passages with the anchor queries, and r those of a query with the anchor
passages, CUR takes C · U · r for the query's scores with all passages (Yadav et al. 2022,
arXiv:2210.12579, section 3: ANNCUR).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from shardrank.core.arrays import Float32
from shardrank.core.errors import IntegrityError
from shardrank.core.tensors import Held, Tensors, read_tensors

_UTF8, _ENDS = Held(1, (np.uint8,)), Held(1, (np.int64,))
_LAYOUT = {
    "queries": _UTF8,
    "queries_ends": _ENDS,
    "passages": _UTF8,
    "passages_ends": _ENDS,
    "factor": Held(2),
    "asked": Held(2),
}


@dataclass(frozen=True, eq=False)
class AnchorCodec:
    """Anchors, and how they are put together.

    Attributes:
        queries: the q anchor queries, without the model's prompt.
        passages: the p anchor passages, title and text in one.
        factor: float32[p, q], U: from a query's scores with the passages to its vector.
        asked: float32[q, q], the anchor queries' own vectors.
    """

    queries: Sequence[str]
    passages: Sequence[str]
    factor: Float32
    asked: Float32

    @classmethod
    def of(cls, data: bytes | None) -> "AnchorCodec":
        """From the bytes of a safetensors file. Raises IntegrityError where they are not of one."""
        held = read_tensors(data or b"", _LAYOUT, _broken)
        queries, passages = (_texts(held, name) for name in ("queries", "passages"))
        found = cls(queries, passages, held["factor"], held["asked"])
        if found.factor.shape != (len(passages), len(queries)):
            raise _broken(
                f"holds {len(queries)} anchor queries, {len(passages)} anchor passages, and a "
                f"factor of the shape {found.factor.shape}"
            )
        return found

    def to_bytes(self) -> bytes:
        """As a safetensors file, which is the same for equal anchors."""
        texts = {**_bytes("queries", self.queries), **_bytes("passages", self.passages)}
        return save({**texts, "factor": self.factor, "asked": self.asked})

    def vectors(self, scores: Float32) -> Float32:
        """float32[n, q] of queries' scores with the anchor passages, float32[n, p]: their inner
        products with passages' scores are the estimates. In float64, so that what else is in a
        batch does not matter to what is kept."""
        return as_float32(scores.astype(np.float64) @ self.factor.astype(np.float64))


def as_float32(numbers: npt.NDArray[np.float64]) -> Float32:
    """What is out of range becomes infinite: whoever asked refuses it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(numbers, np.float32)


def _bytes(name: str, texts: Sequence[str]) -> dict[str, npt.NDArray[np.generic]]:
    """UTF-8, and where each text ends."""
    held = [text.encode() for text in texts]
    ends = np.cumsum([len(each) for each in held], dtype=np.int64)
    return {name: np.frombuffer(b"".join(held), np.uint8), f"{name}_ends": ends}


def _texts(held: Tensors, name: str) -> list[str]:
    data, ends = held[name].tobytes(), held[f"{name}_ends"].tolist()
    try:
        return [data[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
    except UnicodeDecodeError as error:
        raise _broken(f"holds {name} that are not UTF-8: {error}") from error


def _broken(what: str) -> IntegrityError:
    return IntegrityError(
        f"What a column of scores was made with {what}.", "Its file is damaged: index again."
    )
