"""A batch of inputs for a model: their tokens one after another, without padding."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shardrank.core.arrays import Int64

#: What the lengths of blocks are multiples of: numbers in a vector register of 512 bits.
_LANES = 16


@dataclass(frozen=True, eq=False)
class LengthGroup:
    """2^i neighbouring inputs that are computed at one length.

    Attributes:
        inputs: which of the batch they are.
        begins: int64[n] on the CPU, the first token of each.
        sizes: int64[n] on the CPU, tokens of each.
        length: the largest of these, rounded up to a multiple of 16.
    """

    inputs: slice
    begins: Int64
    sizes: Int64
    length: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs as one run of tokens, the longest input first.

    Attributes:
        rows: int64[b] on the CPU, which inputs they are.
        sizes: int64[b] on the CPU, tokens of each, at least one; descending.
        ids: int64[t] on the device, the tokens of all.
        types: int64[t] on the device, their token types; none where the model has just one.
        seen: int64[b] on the CPU, how many tokens of each, the first ones, others attend to; none:
            all. Those behind them attend to these, too, and no token to them.
    """

    rows: Int64
    sizes: Int64
    ids: Tensor
    types: Tensor | None
    seen: Int64 | None = None

    @cached_property
    def seen_lengths(self) -> Tensor:
        """int64[b] on the device: `seen`, or all."""
        return self.lengths if self.seen is None else send(self.seen, self.ids.device)

    @cached_property
    def lengths(self) -> Tensor:
        """int64[b] on the device: `sizes`."""
        return send(self.sizes, self.ids.device)

    @cached_property
    def ends(self) -> Tensor:
        """int64[b + 1]: input i is the tokens ends[i] to ends[i + 1]."""
        return torch.nn.functional.pad(self.lengths.cumsum(0), (1, 0))

    @cached_property
    def bounds(self) -> Tensor:
        """int32[b + 1]: `ends`, as FlashAttention takes them."""
        return self.ends.int()

    @cached_property
    def places(self) -> Tensor:
        """int64[t]: each token's place in its input, from 0."""
        every = torch.arange(len(self.ids), device=self.ids.device)
        return every - self.ends[:-1].repeat_interleave(self.lengths, output_size=len(every))

    @cached_property
    def cells(self) -> Tensor:
        """int64[t]: each token's cell among padded rows. A mask would make a GPU's host wait."""
        starts = torch.arange(len(self.sizes), device=self.ids.device) * self.longest
        return self.places + starts.repeat_interleave(self.lengths, output_size=len(self.ids))

    @cached_property
    def groups(self) -> list[tuple[int, int]]:
        """(inputs, tokens of each) for each run of inputs of one length, in order."""
        starts = np.flatnonzero(np.r_[True, self.sizes[1:] != self.sizes[:-1]])
        counts = np.diff(np.append(starts, len(self.sizes)))
        return [(int(n), int(self.sizes[at])) for n, at in zip(counts, starts, strict=True)]

    @cached_property
    def blocks(self) -> list[LengthGroup]:
        """Inputs whose lengths round up to one multiple of 16, by powers of two, in order."""
        begins = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        lengths = self.sizes + -self.sizes % _LANES
        changes = [*(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
        blocks, first = [], 0
        for end in changes:
            while first < end:
                mine = slice(first, first + (1 << (end - first).bit_length() - 1))
                blocks.append(
                    LengthGroup(mine, begins[mine], self.sizes[mine], int(lengths[first]))
                )
                first = mine.stop
        return blocks

    @property
    def longest(self) -> int:
        """Tokens of the longest input."""
        return int(self.sizes[0])


def send(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """The array on the device; to a GPU it goes through pinned memory, without waiting."""
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
