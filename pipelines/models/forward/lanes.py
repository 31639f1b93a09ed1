"""Answers that are written beside each other: a lane for each, behind a stem that all have."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Int64
from shardrank.models.forward.batch import send
from shardrank.models.forward.branch_attention import Rule, attend_branches
from shardrank.models.forward.branches import Branches
from shardrank.models.forward.kept import Kept, Pair
from shardrank.models.forward.lane_attention import attend_lanes


class Lanes:
    """Keys and values of what stands in each lane behind the stem: the rest of an input, and then
    its answer. The lanes in use are always the first.

    Attributes:
        stem: the tokens that stand before each lane's own.
        lengths: int64[m] on the CPU, tokens of each lane in use.
    """

    def __init__(self, stem: Kept, sizes: Int64, room: int) -> None:
        """Lanes with room for so many tokens each, of which `sizes` are those of their inputs."""
        self.stem = stem
        self.lengths = sizes
        self._shape = len(sizes), room
        self._layers: dict[int, Pair] = {}

    def put(self, layer: int, new: Pair, lanes: list[Int64], sizes: Int64) -> None:
        """Put inputs' keys and values [t, key heads, d], one behind the other, into a layer; of
        each, all lanes that begin with it."""
        ends = np.cumsum(sizes)
        for held, made in zip(self._held(layer, new), new, strict=True):
            for mine, end, size in zip(lanes, ends, sizes, strict=True):
                held[mine, :, :size] = made[end - size : end].transpose(0, 1)

    def append(self, layer: int, new: Pair, at: Tensor) -> Pair:
        """Put the next token's [m, key heads, d] at its place in each lane: all of a layer, [m, key
        heads, l, d] of the longest lane."""
        lanes = torch.arange(len(at), device=at.device)
        seen = int(self.lengths.max()) + 1
        held = self._held(layer, new)
        for every, made in zip(held, new, strict=True):
            every[lanes, :, at] = made
        keys, values = held
        return keys[: len(at), :, :seen], values[: len(at), :, :seen]

    def grow(self) -> None:
        """Every lane in use has one token more."""
        self.lengths = self.lengths + 1

    def keep(self, lanes: Int64) -> Int64:
        """Go on with some lanes, ascending; int64[n]: which lane stands in each place from now on.
        The last ones move into the gaps."""
        order = np.arange(len(lanes))
        gaps, last = np.setdiff1d(order, lanes), lanes[lanes >= len(lanes)]
        order[gaps] = last
        if len(gaps):
            for held in (each for pair in self._layers.values() for each in pair):
                held[gaps] = held[last]
        self.lengths = self.lengths[order]
        return order

    def _held(self, layer: int, like: Pair) -> Pair:
        if layer not in self._layers:
            lanes, room = self._shape
            shapes = ((lanes, x.shape[1], room, x.shape[2]) for x in like)
            keys, values = (x.new_zeros(shape) for x, shape in zip(like, shapes, strict=True))
            self._layers[layer] = keys, values
        return self._layers[layer]


@dataclass(frozen=True, eq=False)
class Opening:
    """A pass over inputs whose answers are to be written (protocol: Step).

    Attributes:
        branches: the inputs' tokens behind the stem; the last of each is wanted.
        begins: of each branch, the lanes that begin with it.
    """

    branches: Branches
    lanes: Lanes
    begins: list[Int64]

    @property
    def ids(self) -> Tensor:
        """See the protocol."""
        return self.branches.ids

    @property
    def places(self) -> Tensor:
        """See the protocol."""
        return self.branches.places

    @property
    def wanted(self) -> Tensor:
        """See the protocol."""
        return self.branches.wanted

    def attend(self, layer: int, queries: Tensor, new: Pair, rule: Rule) -> Tensor:
        """See the protocol."""
        self.lanes.put(layer, new, self.begins, self.branches.sizes)
        before = self.lanes.stem.of(layer, new)
        return attend_branches(queries, new, before, self.branches, rule)


@dataclass(frozen=True, eq=False)
class Onward:
    """A pass over one more token of each lane (protocol: Step).

    Attributes:
        ids: int64[m] on the device, the tokens.
    """

    ids: Tensor
    lanes: Lanes

    @cached_property
    def places(self) -> Tensor:
        """See the protocol."""
        return self._lengths + self.lanes.stem.length

    @cached_property
    def wanted(self) -> Tensor:
        """See the protocol."""
        return torch.arange(len(self.ids), device=self.ids.device)

    def attend(self, layer: int, queries: Tensor, new: Pair, rule: Rule) -> Tensor:
        """See the protocol."""
        own = self.lanes.append(layer, new, self._lengths)
        return attend_lanes(queries, self.lanes.stem.of(layer, new), own, self._lengths, rule)

    @cached_property
    def _lengths(self) -> Tensor:
        return send(self.lanes.lengths, self.ids.device)
