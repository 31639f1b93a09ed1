"""Keys and values of tokens that are computed once and attended to by many."""

from torch import Tensor

Pair = tuple[Tensor, Tensor]


class Kept:
    """The keys and values of one run of tokens, layer by layer.

    Attributes:
        length: tokens that all layers have.
    """

    def __init__(self, room: int) -> None:
        self.length = 0
        self._room = room
        self._layers: dict[int, Pair] = {}

    def of(self, layer: int, like: Pair) -> Pair:
        """Keys and values [length, key heads, d] of a layer, of the kind of those [t, …]."""
        if layer not in self._layers:
            return like[0][:0], like[1][:0]
        keys, values = self._layers[layer]
        return keys[: self.length], values[: self.length]

    def put(self, layer: int, new: Pair) -> Pair:
        """Put those of a layer's next tokens behind the others: all, [length + t, key heads, d]."""
        if layer not in self._layers:
            keys, values = (x.new_empty((self._room, *x.shape[1:])) for x in new)
            self._layers[layer] = keys, values
        end = self.length + len(new[0])
        for held, own in zip(self._layers[layer], new, strict=True):
            held[self.length : end] = own
        keys, values = self._layers[layer]
        return keys[:end], values[:end]

    def grow(self, tokens: int) -> None:
        """All layers have that many more."""
        self.length += tokens

    def shrink(self, length: int) -> None:
        """What all layers have behind so many tokens is forgotten."""
        self.length = length
