"""Encoders of each family that the product loads: folders of random weights of real shapes.

The product's loader chooses its forward pass, as in a run; the peer is transformers by padded
batches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel, BertConfig, ModernBertConfig, Qwen3Config

from shardrank.core.arrays import Float32
from shardrank.models.encoders.pooling import make_pool
from shardrank.models.folder.layout import read_layout
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.batches import ModelInputs, Runner
from tests.bench.bare import named_only
from tests.bench.distances import worst_cosine
from tests.bench.gpu_models import VOCABULARY, Run, Texts, make_texts
from tests.bench.gpu_setup import Setup, clock
from tests.bench.harness import Benchmark, Contender, Duel, timed

with named_only():
    from shardrank.models.encoders.dense import load_transformer

#: The peer's batches, and how far a vector in bf16 may turn.
BATCHES, COSINE = (32, 128), 1e-3
#: Rows that are held against transformers in float32.
JUDGED = 16


@dataclass(frozen=True)
class Family:
    """A shape: transformers' configuration of it."""

    name: str
    config: Callable[[], Any]


def _modern(layers: int, width: int, heads: int, inner: int) -> Any:
    tokens = dict.fromkeys(("bos_token_id", "cls_token_id", "eos_token_id", "sep_token_id"), 2)
    return ModernBertConfig(
        vocab_size=VOCABULARY,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=inner,
        pad_token_id=0,
        **tokens,  # type: ignore[arg-type]
    )


def _qwen(layers: int, width: int, heads: int, head: int, inner: int) -> Any:
    return Qwen3Config(
        vocab_size=VOCABULARY,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=head,
        intermediate_size=inner,
        pad_token_id=0,
    )


def _bert(layers: int, width: int, heads: int, inner: int) -> Any:
    return BertConfig(
        vocab_size=VOCABULARY,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=inner,
    )


#: Which are measured; BERT's sizes are by `gpu_work.py`.
FULL = (
    Family("ModernBERT-base", partial(_modern, 22, 768, 12, 1152)),
    Family("Qwen3-0.6B", partial(_qwen, 28, 1024, 16, 128, 3072)),
)
TINY = (
    Family("tiny ModernBERT", partial(_modern, 4, 64, 4, 96)),
    Family("tiny Qwen3", partial(_qwen, 2, 64, 4, 16, 96)),
)
#: Whose answers are checked first.
CHECKED = (
    Family("BERT", partial(_bert, 3, 128, 4, 256)),
    Family("ModernBERT", partial(_modern, 4, 128, 4, 192)),
    Family("Qwen3", partial(_qwen, 3, 128, 4, 32, 256)),
)


def write_model(family: Family, folder: Path, wide: bool = False) -> Path:
    """A folder of random weights; equal families give equal ones. Wide ones give different texts
    clearly different vectors."""
    torch.manual_seed(0)
    makes: Any = AutoModel
    made = makes.from_config(family.config())
    for parameter in made.parameters() if wide else ():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    made.save_pretrained(folder)
    return folder


def ours(folder: Path, texts: Texts, dtype: str, setup: Setup) -> Run:
    """The product's encoder: float32[n, d] means of hidden states, of length 1."""
    layout = read_layout(folder, plain=True)
    runner = Runner(setup.batch_tokens, 0, setup.device)
    network, pool = load_transformer(layout, dtype, False, runner), make_pool(("mean",))
    inputs = ModelInputs(texts.lengths, texts.rows.__getitem__)

    def step(batch: Batch) -> Tensor:
        return normalize(pool(network, batch), dim=1)

    return lambda: runner.run(inputs, step, layout.config["hidden_size"])


def library(folder: Path, texts: Texts, dtype: torch.dtype, size: int, setup: Setup) -> Run:
    """transformers by padded batches of `size` texts, the longest first; one copy back."""
    model: Any = AutoModel.from_pretrained(folder, dtype=dtype)
    placed = model.to(setup.device).train(False)
    return lambda: _padded(placed, texts, size, setup.device)


@torch.inference_mode()
def _padded(model: Any, texts: Texts, size: int, device: torch.device) -> Float32:
    order, found = np.argsort(-texts.lengths, kind="stable"), []
    for begin in range(0, len(order), size):
        rows = [texts.rows[i] for i in order[begin : begin + size]]
        ids = np.zeros((len(rows), len(rows[0])), np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row)], mask[at, : len(row)] = row, 1
        sent, kept = (torch.from_numpy(each).to(device) for each in (ids, mask))
        hidden = model(input_ids=sent, attention_mask=kept)[0].float()
        sums = (hidden * kept[..., None]).sum(1)
        found.append(normalize(sums, dim=1))
    answer = torch.cat(found).cpu().numpy()
    results = np.empty_like(answer)
    results[order] = answer
    return results


def flops(folder: Path, texts: Texts) -> int:
    """Of the linear maps alone: 2 for each parameter of the layers and each token. Attention is
    left out, so that a share of the peak made of it is too low rather than too high."""
    model: Any = AutoModel.from_pretrained(folder)
    inner = sum(p.numel() for n, p in model.named_parameters() if "embed" not in n)
    return 2 * int(inner) * texts.tokens


def measured(family: Family, lengths: str, folder: Path, setup: Setup) -> tuple[Benchmark, Texts]:
    """Ours against transformers by each size of batch, both in bf16, and the texts."""
    texts = make_texts(lengths, 1 << (11 if setup.small else 17), typed=False)
    if not setup.small:
        run = ours(folder, texts, "bf16", setup)
        run()
        rate = texts.tokens / timed(run, clock(setup.device))
        texts = make_texts(lengths, max(1 << 17, int(rate * setup.seconds)), typed=False)
    rows = np.unique(np.linspace(0, len(texts.rows) - 1, JUDGED).astype(np.int64))
    wanted = library(folder, texts.some(rows), torch.float32, JUDGED, setup)()

    def distance(_: Float32, answer: Float32) -> float:
        return worst_cosine(wanted, answer[rows])

    mine = Contender("shardrank", ours(folder, texts, "bf16", setup), COSINE)
    peers = [
        Contender(
            f"transformers by {size}", library(folder, texts, torch.bfloat16, size, setup), None
        )
        for size in BATCHES
    ]
    duels = [Duel(mine.name, peer.name, 1, 1.7) for peer in peers]
    name, count = f"encode {family.name} {lengths}", len(texts.rows)
    return Benchmark(name, "texts", count, [*peers, mine], duels, distance), texts
