"""One way from token lists to vectors, loaded: a network and its pooling, or a table of means."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Float32, Int32
from shardrank.core.tally import spend
from shardrank.models.encoders.own_module import LoadedModule
from shardrank.models.encoders.pooling import Pool, make_pool
from shardrank.models.encoders.static_table import TokenTable
from shardrank.models.encoders.steps import Finish
from shardrank.models.folder.modules import Pooling
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.batches import ModelInputs, Runner
from shardrank.models.forward.network import Network, told_types
from shardrank.models.text.tokens import FastTokeniser


@dataclass(frozen=True)
class Side:
    """What documents, or queries, have of their own.

    Attributes:
        max_tokens: the longest input, special tokens included.
        prompt: what every text begins with.
    """

    max_tokens: int
    prompt: str


class Embedder(Protocol):
    """Token lists without special tokens → vectors."""

    @property
    def tokeniser(self) -> FastTokeniser: ...

    def embed(self, ids: Sequence[Int32], side: Side) -> Float32:
        """float32[n, dim]: one vector per list, which is cut where it is too long.

        A prompt, where there is one, is in the lists already.
        """

    def of_inputs(self) -> "Embedder":
        """The same for lists that hold their special tokens already."""


@dataclass(frozen=True, eq=False)
class TransformerEmbedder:
    """A transformer, a pooling, and what follows (protocol: Embedder)."""

    network: Network
    tokeniser: FastTokeniser
    pooling: Pooling | LoadedModule
    finish: Finish
    runner: Runner

    def embed(self, ids: Sequence[Int32], side: Side) -> Float32:
        template = self.tokeniser.single_template()
        room = side.max_tokens - self.tokeniser.specials
        lengths = np.array([min(len(row), room) for row in ids], np.int32) + self.tokeniser.specials
        pool = self._pool(side)

        def row(i: int) -> Int32:
            return template.ids(ids[i][:room])

        def types(i: int) -> Int32:
            return template.types(min(len(ids[i]), room))

        def vectors(batch: Batch) -> Tensor:
            return self.finish(pool(self.network, batch))

        typed = told_types(self.network, self.tokeniser.typed, template.all_types)
        inputs = ModelInputs(lengths.astype(np.int32), row, types if typed else None)
        return self.runner.run(inputs, vectors, self.finish.dim)

    def of_inputs(self) -> Embedder:
        return replace(self, tokeniser=self.tokeniser.bare())

    def _pool(self, side: Side) -> Pool:
        """Without the tokens at the front, where the folder leaves the prompt's out."""
        if isinstance(self.pooling, LoadedModule):
            return self.pooling.pool
        left_out = side.prompt and not self.pooling.includes_prompt
        return make_pool(self.pooling.modes, prompt_tokens(self.tokeniser, side) if left_out else 0)


@dataclass(frozen=True, eq=False)
class TableEmbedder:
    """A table of token vectors, and what follows, on the CPU (protocol: Embedder)."""

    table: TokenTable
    tokeniser: FastTokeniser
    finish: Finish

    @torch.inference_mode()
    def embed(self, ids: Sequence[Int32], side: Side) -> Float32:
        longest = max(map(len, ids), default=0)
        kept = [row[: side.max_tokens] for row in ids] if longest > side.max_tokens else ids
        means = self.table.means(kept)
        spend("tokens", sum(map(len, kept)))
        return self.finish(torch.from_numpy(means)).numpy()

    def of_inputs(self) -> Embedder:
        return self


def prompt_tokens(tokeniser: FastTokeniser, side: Side) -> int:
    """How many tokens at an input's front are its prompt's: as many as the prompt alone has, with
    special ones but for the very last (sentence-transformers 6.2, Transformer._get_prompt_length).
    """
    prefix, suffix = tokeniser.single_template().around
    own = min(len(tokeniser.encode([side.prompt])[0].ids), side.max_tokens - tokeniser.specials)
    return len(prefix) + own + max(len(suffix) - 1, 0)
