"""Random encoders of three sizes, made-up inputs for them, and our forward pass over these.

What a model has learnt does not change its speed, so that nothing need be downloaded.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import BertConfig, BertForSequenceClassification

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.models.encoders.pooling import make_pool
from shardrank.models.folder.packable import bare_name
from shardrank.models.folder.packed_families import FAMILIES
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.batches import ModelInputs, Runner
from shardrank.models.forward.packed import PackedBert, PackedClassifier
from shardrank.models.forward.state import State
from tests.bench.gpu_setup import Setup

ENCODE, PAIRS = "encode", "pairs"
VOCABULARY = 30_522
#: Tokens of the first text of a pair, its special ones included.
QUERY = 16
#: Lengths of a natural mix: log-normal about this many tokens, cut to what BERT takes.
MIDDLE, SPREAD, LEAST, MOST = 120, 0.7, 8, 512

Run = Callable[[], Float32]
Step = Callable[[Batch], Tensor]


@dataclass(frozen=True)
class Size:
    """The shape of a BERT."""

    name: str
    layers: int
    width: int
    heads: int
    inner: int

    def config(self) -> BertConfig:
        make: Any = BertConfig  # its labels are the base class's, and not in its signature
        config: BertConfig = make(
            vocab_size=VOCABULARY,
            num_hidden_layers=self.layers,
            hidden_size=self.width,
            num_attention_heads=self.heads,
            intermediate_size=self.inner,
            num_labels=1,
        )
        return config


SIZES = (
    Size("22M", 6, 384, 12, 1_536),  # all-MiniLM-L6
    Size("110M", 12, 768, 12, 3_072),  # BERT base
    Size("335M", 24, 1_024, 16, 4_096),  # BERT large
)
TINY = (Size("tiny", 2, 32, 4, 64),)


@dataclass(frozen=True, eq=False)
class Texts:
    """Inputs as ids, special ones included.

    Attributes:
        rows: int32[lengths[i]] each.
        types: the token types likewise; none where a model is told none.
    """

    rows: list[Int32]
    types: list[Int32] | None

    @property
    def lengths(self) -> Int32:
        return np.array([len(row) for row in self.rows], np.int32)

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum())

    def some(self, numbers: Int64) -> "Texts":
        """Those rows only."""
        types = None if self.types is None else [self.types[i] for i in numbers]
        return Texts([self.rows[i] for i in numbers], types)


def make_texts(lengths: str, tokens: int, typed: bool) -> Texts:
    """About so many tokens, at one length ("128") or in a natural mix ("natural")."""
    random = np.random.default_rng(0)
    if lengths == "natural":
        drawn = random.lognormal(np.log(MIDDLE), SPREAD, max(2, tokens // MIDDLE))
        sizes = drawn.clip(LEAST, MOST).astype(np.int64)
        sizes = sizes[: max(2, int(np.searchsorted(sizes.cumsum(), tokens)))]
    else:
        sizes = np.full(max(2, tokens // int(lengths)), int(lengths))
    rows = [random.integers(1_000, VOCABULARY, size, dtype=np.int32) for size in sizes]
    return Texts(rows, [_types(size) for size in sizes] if typed else None)


def _types(size: int) -> Int32:
    return (np.arange(size) >= min(QUERY, size // 2)).astype(np.int32)


def flops(size: Size, lengths: Int32, first_only: bool = False) -> int:
    """Additions and multiplications of the layers.

    A linear map costs 2 for each of its parameters and each token: a layer has 4·d² of them in
    attention and 2·d·f in its two wide maps. Attention costs 4·n²·d for an input of n tokens:
    2·n²·d for q·kᵀ over all heads, and as much for the sum of values.

    Args:
        first_only: the last layer answers for each input's first token alone: keys and values of
            all tokens, everything else of one, as our cross-encoder does it.
    """
    d, maps = size.width, 4 * size.width**2 + 2 * size.width * size.inner
    n = lengths.astype(np.int64)
    tokens, squares = int(n.sum()), int((n * n).sum())
    whole = 2 * maps * tokens + 4 * d * squares
    if not first_only:
        return size.layers * whole
    own = 2 * (maps - 2 * d * d) * len(n)
    return (size.layers - 1) * whole + 2 * (2 * d * d) * tokens + own + 4 * d * tokens


@dataclass(frozen=True, eq=False)
class Work:
    """One model over one set of inputs.

    Attributes:
        task: "encode", texts to vectors of length 1; or "pairs", pairs to logits.
        model: in float32, on the device.
    """

    task: str
    size: Size
    texts: Texts
    model: BertForSequenceClassification

    @property
    def columns(self) -> int:
        """Of an answer."""
        return self.size.width if self.task == ENCODE else 1

    def halved(self) -> BertForSequenceClassification:
        """A copy of the model in bf16."""
        return copy.deepcopy(self.model).bfloat16()


@lru_cache(maxsize=1)
def make_model(size: Size, device: torch.device) -> BertForSequenceClassification:
    """Equal sizes give equal weights; the last one is kept, since making it takes long."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(size.config())
    placed: torch.nn.Module = model
    placed.to(device).train(False)
    return model


def packed_step(work: Work, compiled: bool = False) -> Step:
    """Our forward pass in bf16, from a batch to its answers."""
    weights = {
        bare_name(name, FAMILIES["bert"]): tensor
        for name, tensor in work.model.state_dict().items()
    }
    state, config = State(weights, Path("made here")), work.model.config.to_dict()
    if work.task == PAIRS:
        classifier = PackedClassifier(state, config, "bf16")
        _compile(classifier._bert, compiled)
        return classifier
    network, pool = PackedBert(state, config, "bf16"), make_pool(("mean",))
    _compile(network, compiled)
    return lambda batch: normalize(pool(network, batch), dim=1)


def _compile(network: PackedBert, compiled: bool) -> None:
    """Let torch.compile fuse what follows attention in each layer: casts, sums, norms, GELU.

    Attention is one kernel already. Lengths are dynamic, so that few kernels serve all batches.
    """
    for layer in network._layers if compiled else ():
        layer._finish = torch.compile(layer._finish, dynamic=True)  # type: ignore[method-assign]


def over(texts: Texts, step: Step, columns: int, setup: Setup) -> Run:
    """A run of `step` over all inputs in our batches, with one copy back at the end."""
    types = None if texts.types is None else texts.types.__getitem__
    inputs = ModelInputs(texts.lengths, texts.rows.__getitem__, types)
    runner = Runner(setup.batch_tokens, 0, setup.device)
    return lambda: runner.run(inputs, step, columns)


def queued_share(work: Work, step: Step, setup: Setup) -> float:
    """The share of a run in which the processor still gives the device work.

    Near 1, the processor is what limits, and CUDA graphs would pay; far below, the device is.
    """
    last = 0.0

    def watched(batch: Batch) -> Tensor:
        nonlocal last
        found = step(batch)
        last = perf_counter()
        return found

    run = over(work.texts, watched, work.columns, setup)
    began = perf_counter()
    run()
    return (last - began) / (perf_counter() - began)
