"""Attention in float32 on a CPU by machine code of our own: `shardrank.kernels.attend_loops`."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Int64
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.kept import Pair

if TYPE_CHECKING:
    from shardrank.kernels.attend_parts import Attention, Heads, Lines, Runs

#: Further than any token of an input.
_FAR = 1 << 40


@dataclass(frozen=True)
class Sight:
    """Which tokens of its input a token attends to.

    Attributes:
        before, behind: how many before and behind its own place; none: all.
        last: whether it is the last token where an input has but one that asks; else the first.
    """

    before: int | None = None
    behind: int | None = None
    last: bool = False


#: All of them.
EVERY = Sight()


def attends_in_loops(queries: Tensor) -> bool:
    """Whether these are attended so."""
    return queries.device.type == "cpu" and queries.dtype == torch.float32 and _has_numba()


def attend_in_loops(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    batch: Batch,
    sight: Sight = EVERY,
    scale: float | None = None,
    lines: Tensor | None = None,
) -> Tensor:
    """softmax(scale · q·kᵀ + line)·v of each head.

    Args:
        queries: float32[t, heads, d] of all tokens, or [b, heads, d] of one of each input.
        keys, values: float32[t, key heads, d] of all tokens.
        batch: where inputs begin and end.
        sight: what each query sees.
        scale: of the products; 1/√d without one.
        lines: float32[heads, 2 · l - 1], what is added by distances of a key from its query from
            1 - l to l - 1, for the l tokens of the longest input; none: nothing is.

    Returns:
        As queries.
    """
    from shardrank.kernels.attend_loops import attend_runs  # numba: see above

    found = torch.empty(queries.shape)
    given = _attention(queries, keys, values, found)
    runs = _runs(batch.sizes, sight, len(queries) != len(keys))
    attend_runs(given, _lines(lines), runs, queries.shape[2] ** -0.5 if scale is None else scale)
    return found


def attend_behind_stem(
    queries: Tensor, new: Pair, stem: Pair, sizes: Int64, sight: Sight, scale: float
) -> Tensor:
    """As `attend_in_loops`, of inputs that all begin with the same tokens.

    Args:
        queries: float32[t, heads, d] of the tokens behind those.
        new: keys and values of the same, float32[t, key heads, d].
        stem: those of the tokens that all begin with, which may be none.
        sizes: int64[b], how many tokens each input has behind them.
        sight, scale: as there.
    """
    from shardrank.kernels.attend_loops import attend_behind, attend_runs  # numba: see above

    found = torch.empty(queries.shape)
    given, runs = _attention(queries, *new, found), _runs(sizes, sight, single=False)
    if len(stem[0]):
        attend_behind(_attention(queries, *stem, found), len(stem[0]), given, runs, scale)
    else:
        attend_runs(given, _lines(None), runs, scale)
    return found


def attend_last(
    queries: Tensor, keys: Tensor, values: Tensor, sight: Sight, scale: float
) -> Tensor:
    """As `attend_in_loops`, of the last tokens of one input: float32[t, heads, d] of
    float32[s, key heads, d]."""
    from shardrank.kernels.attend_loops import attend_runs  # numba: see above
    from shardrank.kernels.attend_parts import Runs

    found, none = torch.empty(queries.shape), np.zeros(1, np.int64)
    asked, seen = (np.array([len(x)]) for x in (queries, keys))
    runs = Runs(none, asked, none, seen, seen - asked, *_reaches(sight))
    attend_runs(_attention(queries, keys, values, found), _lines(None), runs, scale)
    return found


def _lines(lines: Tensor | None) -> "Lines":
    from shardrank.kernels.attend_parts import Lines
    from shardrank.kernels.vectors import LANES

    if lines is None:
        return Lines(np.empty(0, np.float32), 0, 0)
    padded = torch.nn.functional.pad(lines, (0, LANES))  # a vector may reach beyond
    return Lines(padded.detach().numpy().ravel(), padded.shape[1], lines.shape[1] // 2)


def _runs(sizes: Int64, sight: Sight, single: bool) -> "Runs":
    from shardrank.kernels.attend_parts import Runs

    begins, none, reaches = np.cumsum(sizes) - sizes, np.zeros_like(sizes), _reaches(sight)
    if not single:
        return Runs(begins, sizes, begins, sizes, none, *reaches)
    places = sizes - 1 if sight.last else none
    return Runs(np.arange(len(sizes)), np.ones_like(sizes), begins, sizes, places, *reaches)


def _reaches(sight: Sight) -> tuple[int, int]:
    before, behind = (_FAR if reach is None else reach for reach in (sight.before, sight.behind))
    return before, behind


def _attention(queries: Tensor, keys: Tensor, values: Tensor, found: Tensor) -> "Attention":
    from shardrank.kernels.attend_parts import Attention

    assert queries.shape[2] == keys.shape[2] == values.shape[2], "heads of one width"
    return Attention(*(_heads(x) for x in (queries, keys, values, found)))


def _heads(x: Tensor) -> "Heads":
    """[t, heads, d] as the loops read it; copied where heads do not stand side by side."""
    from shardrank.kernels.attend_parts import Heads

    _, heads, width = x.shape
    x = x if x.stride()[1:] == (width, 1) else x.contiguous()
    step = x.stride(0) if len(x) > 1 else heads * width  # of a single one torch may say any
    size = (len(x) - 1) * step + heads * width
    return Heads(x.detach().as_strided((size,), (1,)).numpy(), step, heads, width)


@cache
def _has_numba() -> bool:
    """The bare machine of a GPU may lack it."""
    return find_spec("numba") is not None
