"""What our forward pass is measured against: transformers and sentence-transformers on one model.

All start from token ids, since tokenising is the same work for everyone. The peers are:

- transformers on padded batches of texts of like length, scaled_dot_product_attention, bf16: what
  sentence-transformers does by default, 32 texts in a batch and a copy back after each;
- sentence-transformers itself, where it is installed, with prepared ids in its tokeniser's place;
- the tuned peer, the fastest of larger padded batches without copies in between, and of unpadded
  batches under FlashAttention. The latter go through our own batches and pinned copies, so that
  this peer lacks nothing but our forward pass.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AttentionInterface, BertForSequenceClassification

from shardrank.core.arrays import Float32, Int64
from shardrank.models.forward.attention import attend
from shardrank.models.forward.batch import Batch
from tests.bench.gpu_models import ENCODE, Run, Texts, Work, over
from tests.bench.gpu_setup import Setup, clock
from tests.bench.harness import Contender, fastest

DEFAULT_BATCH = 32
BATCHES, SMALL_BATCHES = (64, 128, 256, 512), (4, 8)
#: Of the texts, to choose the tuned peer on.
SAMPLE = 0.25
VARLEN, FLASH = "varlen", "flash_attention_2"


@dataclass(frozen=True)
class Peer:
    """A way to do the work, over any texts."""

    name: str
    over: Callable[[Texts], Run]


def default_peer(work: Work, setup: Setup) -> Peer:
    """As sentence-transformers does it when it is told nothing."""
    return _padded_peer(work, work.halved(), DEFAULT_BATCH, setup, keep=False)


def tuned_peer(work: Work, setup: Setup) -> Peer:
    """The fastest of all on a sample of the texts, after each has run once to warm up."""
    sample = work.texts.some(np.arange(0, len(work.texts.rows), round(1 / SAMPLE)))
    peers = [*_padded_peers(work, setup), *_unpadded_peers(work, setup)]
    works = [peer for peer in peers if _runs(peer, sample, f"{_named(work)}, {peer.name}", setup)]
    contenders = [Contender(str(i), peer.over(sample), None) for i, peer in enumerate(works)]
    return works[int(fastest(contenders, clock(setup.device)).name)]


def reference(work: Work, rows: Int64) -> Float32:
    """The answers of some rows: padded, in float32, by transformers."""
    return padded(work, work.model, work.texts.some(rows), len(rows), keep=False)


@torch.inference_mode()
def padded(
    work: Work,
    model: BertForSequenceClassification,
    texts: Texts,
    size: int,
    keep: bool,
) -> Float32:
    """Batches of `size` texts, the longest first.

    Args:
        keep: answers stay on the device until the end; else each batch waits for its own.
    """
    order = np.argsort(-texts.lengths, kind="stable")
    found = []
    for begin in range(0, len(order), size):
        answer = _answer(work.task, model, _to(pad(texts.some(order[begin : begin + size])), model))
        found.append(answer if keep else answer.cpu())
    results = np.empty((len(order), work.columns), np.float32)
    results[order] = torch.cat(found).float().cpu().numpy()
    return results


def pad(texts: Texts) -> dict[str, Tensor]:
    """What transformers takes, on the CPU."""
    shape = (len(texts.rows), int(texts.lengths.max()))
    ids, mask, types = (np.zeros(shape, np.int64) for _ in range(3))
    for i, row in enumerate(texts.rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
        if texts.types is not None:
            types[i, : len(row)] = texts.types[i]
    arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def sentence_transformers_peer(work: Work, setup: Setup) -> Peer | None:
    """sentence-transformers' own loop; none, and a reason, where it cannot be had."""
    name = f"sentence-transformers by {DEFAULT_BATCH}"
    if find_spec("sentence_transformers") is None:
        setup.skip(name, "it is not installed")
        return None
    peer = Peer(name, partial(_sentence_transformers, work, work.halved(), setup))
    two = work.texts.some(np.arange(2))
    return peer if _runs(peer, two, f"{_named(work)}, {name}", setup) else None


def _runs(peer: Peer, texts: Texts, what: str, setup: Setup) -> bool:
    return setup.attempt(what, lambda: peer.over(texts)())


def _sentence_transformers(
    work: Work, model: BertForSequenceClassification, setup: Setup, texts: Texts
) -> Run:
    from sentence_transformers import CrossEncoder, SentenceTransformer

    first, device = Prepared(work.task, model, texts), str(setup.device)
    names = [str(i).zfill(len(row)) for i, row in enumerate(texts.rows)]
    if work.task == ENCODE:
        encoder = SentenceTransformer(modules=[first], device=device)
        return partial(encoder.encode, names, show_progress_bar=False)
    if "modules" not in signature(CrossEncoder.__init__).parameters:
        raise TypeError("CrossEncoder takes modules from version 6 on")
    scorer = CrossEncoder(modules=[first], device=device, num_labels=1)
    raw, pairs = torch.nn.Identity(), [(name, "") for name in names]
    predict = partial(scorer.predict, pairs, activation_fn=raw, show_progress_bar=False)
    return lambda: predict()[:, None]


class Prepared(torch.nn.Module):
    """A first module of sentence-transformers, whose texts are the numbers of prepared rows.

    A number has as many digits as the row has tokens, so that sorting by length does its work.
    """

    def __init__(self, task: str, model: BertForSequenceClassification, texts: Texts) -> None:
        super().__init__()
        self.model = model
        self._task, self._texts = task, texts

    def preprocess(self, inputs: Sequence[Any], **kwargs: Any) -> dict[str, Tensor]:
        names = [item if isinstance(item, str) else item[0] for item in inputs]
        return pad(self._texts.some(np.array([int(name) for name in names])))

    tokenize = preprocess  # its name before version 6

    def forward(self, features: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        found = _answer(self._task, self.model, features)
        return {**features, "sentence_embedding": found, "scores": found}


def _padded_peers(work: Work, setup: Setup) -> list[Peer]:
    model = work.halved()
    sizes = SMALL_BATCHES if setup.small else BATCHES
    return [_padded_peer(work, model, size, setup, keep=True) for size in sizes]


def _padded_peer(
    work: Work, model: BertForSequenceClassification, size: int, setup: Setup, keep: bool
) -> Peer:
    def run(texts: Texts) -> Run:
        return lambda: padded(work, model, texts, size, keep)

    return Peer(f"transformers by {size}", run)


def _unpadded_peers(work: Work, setup: Setup) -> list[Peer]:
    """torch's FlashAttention is always there; the flash_attn package may be."""
    ways = [VARLEN, FLASH] if find_spec("flash_attn") else [VARLEN]
    if FLASH not in ways:
        setup.skip(FLASH, "flash_attn is not installed; torch has its own, which competes")
    return [Peer(f"transformers unpadded, {way}", partial(_over, work, setup, way)) for way in ways]


def _over(work: Work, setup: Setup, way: str, texts: Texts) -> Run:
    AttentionInterface.register(VARLEN, _varlen)
    model = work.halved()
    model.set_attn_implementation(way)
    return over(texts, partial(_unpadded, work.task, model, way), work.columns, setup)


def _varlen(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    batch: Batch,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """[1, heads, t, d] each → [1, t, heads · d], through the same kernel as ours."""
    queries, keys, values = (x[0].transpose(0, 1) for x in (query, key, value))
    return attend(queries, keys, values, batch)[None], None


def _unpadded(task: str, model: BertForSequenceClassification, way: str, batch: Batch) -> Tensor:
    """All inputs as one row, of which attention alone knows the parts."""
    bert: Any = model.bert
    hidden = bert(
        input_ids=batch.ids[None],
        position_ids=batch.places[None],
        token_type_ids=(torch.zeros_like(batch.ids) if batch.types is None else batch.types)[None],
        **({"batch": batch} if way == VARLEN else _flash_arguments(batch)),
    )[0][0]
    if task == ENCODE:
        means = torch.segment_reduce(hidden.float(), "mean", lengths=batch.lengths, unsafe=True)
        return normalize(means, dim=1)
    pooled = bert.pooler(hidden[batch.ends[:-1]][:, None])
    logits: Tensor = model.classifier(pooled)
    return logits.float()


def _flash_arguments(batch: Batch) -> dict[str, Any]:
    ends, most = batch.ends.int(), batch.longest
    return {
        "cu_seq_lens_q": ends,
        "cu_seq_lens_k": ends,
        "max_length_q": most,
        "max_length_k": most,
    }


def _answer(
    task: str, model: BertForSequenceClassification, features: Mapping[str, Tensor]
) -> Tensor:
    if task != ENCODE:
        logits: Tensor = model(**features).logits
        return logits
    hidden, mask = model.bert(**features)[0], features["attention_mask"][..., None]
    return normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


def _to(features: dict[str, Tensor], model: BertForSequenceClassification) -> dict[str, Tensor]:
    return {name: tensor.to(model.device) for name, tensor in features.items()}


def _named(work: Work) -> str:
    return f"{work.task} {work.size.name}"
