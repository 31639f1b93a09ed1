"""Answers first: what the product computes on this device against transformers in float32, and
against numpy. Nothing is measured where one of them is wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM, BertForSequenceClassification

from shardrank.core.arrays import Float32, Int64
from shardrank.index.list_major import ListSearch, rounded
from shardrank.models.forward.attention import attend, flashes
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.select_rows import TorchSelector
from tests.bench.bare import named_only
from tests.bench.distances import worst_cosine
from tests.bench.gpu_families import CHECKED, library, ours, write_model
from tests.bench.gpu_models import PAIRS, TINY, Work, make_model, make_texts, over, packed_step
from tests.bench.gpu_peers import reference
from tests.bench.gpu_search import Field, K, make_lists, make_parts, sweep
from tests.bench.gpu_setup import Setup
from tests.bench.vectors import collection

with named_only():
    from shardrank.models.forward.decoder import load_decoder


@dataclass(frozen=True)
class Check:
    """How far an answer may be from the right one."""

    name: str
    distance: Callable[[], float]
    most: float


@dataclass(frozen=True)
class Checked:
    """How far it was, and whether that will do; a check that could not run has its reason."""

    name: str
    distance: float | None
    most: float
    good: bool
    reason: str = ""


def checked(setup: Setup) -> Iterator[Checked]:
    """Each check, as it is done. One that fails with an error does not stop the others."""
    with TemporaryDirectory() as folder:
        for check in checks(Path(folder), setup):
            try:
                found = check.distance()
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
                yield Checked(check.name, None, check.most, False, reason)
            else:
                yield Checked(check.name, found, check.most, found <= check.most)


def checks(folder: Path, setup: Setup) -> list[Check]:
    """All of them, the quickest to blame first."""
    found = [Check(f"attention in {dtype}", lambda d=dtype: attention(d, setup), most)  # type: ignore[misc]
             for dtype, most in (("float32", 1e-5), ("bfloat16", 2e-2))]  # fmt: skip
    for family in CHECKED:
        for dtype, most in (("fp32", 1e-5), ("bf16", 1e-3)):
            found.append(
                Check(
                    f"vectors of {family.name} in {dtype}",
                    lambda f=family, d=dtype: vectors(f, folder / f.name, d, setup),  # type: ignore[misc]
                    most,
                )
            )
    return [
        *found,
        Check("logits of pairs in bf16", lambda: pair_logits(setup), 0.1),
        Check("logits of a language model in fp32", lambda: next_logits(folder, setup), 1e-3),
        Check("list-major search against numpy, wrong hits", lambda: lists(setup), 0.0),
        Check("exact search against numpy, wrong hits", lambda: exact(setup), 0.0),
    ]


def attention(dtype: str, setup: Setup) -> float:
    """The largest difference to each input alone, in float32; uneven lengths."""
    sizes = np.array([130, 77, 64, 5, 1], np.int64)
    ids = torch.zeros(int(sizes.sum()), dtype=torch.int64, device=setup.device)
    batch = Batch(np.arange(len(sizes)), sizes, ids, None)
    torch.manual_seed(0)
    shape = (3, len(ids), 4, 32)
    queries, keys, values = torch.randn(shape).to(setup.device, getattr(torch, dtype)).unbind(0)
    if setup.cuda and dtype == "bfloat16":
        assert flashes(queries), "FlashAttention does not take these"
    found = attend(queries, keys, values, batch).float().cpu()
    whole = [torch.split(each.float().cpu(), sizes.tolist()) for each in (queries, keys, values)]
    wanted = [
        scaled_dot_product_attention(*(x.transpose(0, 1) for x in one)).transpose(0, 1).flatten(1)
        for one in zip(*whole, strict=True)
    ]
    return float((found - torch.cat(wanted)).abs().max())


def vectors(family: Any, folder: Path, dtype: str, setup: Setup) -> float:
    """1 less the least cosine to transformers in float32, one input at a time."""
    if not folder.exists():
        write_model(family, folder, wide=True)
    texts = make_texts("natural", 2_000, typed=False)
    wanted = library(folder, texts, torch.float32, 1, setup)()
    return worst_cosine(wanted, ours(folder, texts, dtype, setup)())


def pair_logits(setup: Setup) -> float:
    """The largest difference to transformers in float32, as a share of their spread."""
    model: BertForSequenceClassification = make_model(TINY[0], setup.device)
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    work = Work(PAIRS, TINY[0], make_texts("natural", 2_000, typed=True), model)
    wanted = reference(work, np.arange(len(work.texts.rows)))
    found = over(work.texts, packed_step(work), work.columns, setup)()
    make_model.cache_clear()  # its weights are no longer those that a size has
    return float(np.abs(found - wanted).max() / np.ptp(wanted))


def next_logits(folder: Path, setup: Setup) -> float:
    """The largest difference of a language model's logits: a stem and branches of it, packed."""
    at = folder / "language"
    torch.manual_seed(0)
    config = CHECKED[-1].config()
    makes: Any = AutoModelForCausalLM
    made = makes.from_config(config)
    made.save_pretrained(at)
    stem = np.arange(5, 60, dtype=np.int32)
    inputs = [np.append(stem, row).astype(np.int32) for row in make_texts("16", 90, False).rows]
    answers = np.array([3, 8, 500], np.int32)
    decoder = load_decoder(at, "fp32", False, str(setup.device), None)
    found = decoder.last_logits(inputs, answers)
    with torch.inference_mode():
        model = made.float().train(False)
        last = [
            model(torch.from_numpy(each)[None].long()).logits[0, -1, answers] for each in inputs
        ]
    return float(np.abs(found - torch.stack(last).numpy()).max())


def lists(setup: Setup) -> float:
    """Hits that differ from a plain sort, ties and lists that are too short included."""
    field = _field(setup)
    made, queries = field.lists, field.made.queries[:40]
    found = ListSearch(made, TorchSelector(str(setup.device))).search(queries, 3, K, None)
    return float((found != _plain(made, queries, 3)).sum())


def _plain(made: Any, queries: Float32, nprobe: int) -> Int64:
    small, out = rounded(queries).astype(np.int64), np.full((len(queries), K), -1, np.int64)
    nearest = np.argsort(-(small @ made.centroids.T.astype(np.int64)), axis=1, kind="stable")
    for number, probed in enumerate(nearest[:, :nprobe]):
        both = [made.rows(int(each), None) for each in probed]
        places = np.concatenate([place for place, _ in both])
        scores = np.concatenate([rows for _, rows in both]).astype(np.int64) @ small[number]
        best = places[np.lexsort((places, -scores))][:K]
        out[number, : len(best)] = best
    return out


def exact(setup: Setup) -> float:
    """Queries whose nearest are other documents than numpy's in float64, but for near ties."""
    field = _field(setup)
    stored, queries = field.made.stored, field.made.queries[:40]
    found, _ = sweep(make_parts(stored), queries, setup.device)
    scores = queries.astype(np.float64) @ stored.T.astype(np.float64)
    wanted = -np.sort(-scores, axis=1)[:, :K]
    return float((np.abs(np.take_along_axis(scores, found, 1) - wanted) > 1e-6).any(1).sum())


def _field(setup: Setup) -> Field:
    made = collection(3_000, 60)
    return Field(made, np.empty((0, K), np.int64), make_lists(made.stored, 24, setup.device))
