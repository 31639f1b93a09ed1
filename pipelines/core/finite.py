"""When numbers that are not finite are the model's fault and not one text's."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool
from shardrank.core.errors import InputError

#: Fewer results than this may all be broken by their texts; a part or unit of fewer stays in.
ENOUGH = 16


@dataclass(frozen=True)
class Source:
    """What gave the numbers.

    Attributes:
        table: of the settings: "encoder" or "reranker".
        model: its name there.
        dtype: of its forward pass.
        gives: "vector" or "score".
    """

    table: str
    model: str
    dtype: str
    gives: str


def refuse_broken(
    source: Source, broken: int, of: int, what: str, least: int = ENOUGH, hint: str = ""
) -> None:
    """Raise InputError where all results are broken, and there are at least so many.

    Args:
        source: the model.
        broken: results that are NaN or infinite.
        of: results.
        what: what they are of, such as "passages of a part".
        least: fewer results than this are not judged.
        hint: what else may be the matter.
    """
    if broken < of or of < max(least, 1):
        return
    other = "" if source.dtype == "fp32" else f"Run it in fp32 ({source.table}.dtype=fp32), and "
    check = (
        f"{'c' if other else 'C'}heck its weights: they may hold NaN, or be those of another model."
    )
    raise InputError(
        f"The {source.table} {source.model!r} in {source.dtype} gives no finite {source.gives}: "
        f"those of all {of:,} {what} are NaN or infinite.",
        f"{other}{check} {hint}".strip(),
    )


def finite_rows(vectors: npt.NDArray[np.floating]) -> Bool:
    """bool[n]: whether all components of a vector of float[n, d] are finite."""
    finite: Bool = np.isfinite(vectors).all(axis=1)
    return finite
