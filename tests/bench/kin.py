"""BERT's kin, which our own forward pass runs too: against sentence-transformers, with random
weights in the shapes of models that are used, which take as long as learnt ones.

python -m tests.bench.kin NAME… [--count 60] [--rounds 5]: by the CPU's seconds, on one thread,
which other work on the machine changes less; `python -m tests.bench --only NAME` by a wall clock's.

The peer's best is the fastest over types, ways to attend and batch sizes, after one run of each.
The tokens are those of the embedded model, whatever the shape's own tokeniser would make.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from sentence_transformers import CrossEncoder, SentenceTransformer
from threadpoolctl import threadpool_limits
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from shardrank.core.arrays import Float32
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.rerankers.cross import CrossEncoderReranker, load_reranker
from tests.bench.distances import worst_cosine, worst_logit
from tests.bench.embed import ours as embedded
from tests.bench.harness import Benchmark, Clock, Contender, Duel, fastest, measure
from tests.bench.machine import float_dtypes, machine
from tests.bench.rerank import Pairs
from tests.bench.show import table
from tests.bench.texts import documents

#: Of a vector, 1 - cosine; of a logit, the difference. Weights at random lose more in 8 bits.
TOLERANCES: Mapping[str, float] = {"fp32": 1e-3, "bf16": 2e-2, "int8": 5e-2}
MAX_TOKENS, BATCHES = 512, (4, 8, 16, 32)
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_DEBERTA: Mapping[str, Any] = {
    "relative_attention": True,
    "position_buckets": 256,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "max_position_embeddings": 512,
    "vocab_size": 128100,
}


@dataclass(frozen=True)
class Kin:
    """A model's shape.

    Attributes:
        family: transformers' name of it.
        values: of its config.json, where not the family's own.
        ways: in which the library attends there.
        pairs: whether it scores pairs; else it makes vectors of texts.
    """

    family: str
    values: Mapping[str, Any]
    ways: Sequence[str] = ("eager",)
    pairs: bool = False


def _deberta(width: int, layers: int) -> Kin:
    sizes = {"hidden_size": width, "num_attention_heads": width // 64, "num_hidden_layers": layers}
    return Kin("deberta-v2", {**_DEBERTA, **sizes, "intermediate_size": 4 * width}, pairs=True)


KIN: Mapping[str, Kin] = {
    "distilbert-base": Kin("distilbert", {}, ("eager", "sdpa")),
    "mpnet-base": Kin("mpnet", {"max_position_embeddings": 514}),
    "deberta-v3-xsmall": _deberta(384, 12),
    "deberta-v3-small": _deberta(768, 6),
}


def benchmark(name: str, count: int, folder: Path, clock: Clock = time.perf_counter) -> Benchmark:
    """As many texts, or pairs by 15, of a model that is saved into the folder."""
    kin, model = KIN[name], save(KIN[name], folder / name)
    work = Work(kin, count)
    plain, *other = (
        fastest([each for way in kin.ways for each in work.peers(model, dtype, way)], clock)
        for dtype in float_dtypes()
    )
    best = fastest([plain, *other], clock)
    others = [*float_dtypes()[1:], "int8"]
    contenders = [Contender("library fp32", plain.run, None), Contender("library", best.run, None)]
    contenders += [
        Contender(f"shardrank {dtype}", work.ours(model, dtype), most)
        for dtype, most in TOLERANCES.items()
        if dtype in ("fp32", *others)
    ]
    duels = [
        Duel("shardrank fp32", "library fp32", floor=1.4, goal=1.8),
        *(Duel(f"shardrank {dtype}", "library", floor=1.4, goal=1.8) for dtype in others),
    ]
    title = f"{name} (library's best: {best.name}; in fp32: {plain.name})"
    return Benchmark(title, work.unit, work.items, contenders, duels, work.distance)


class Work:
    """Texts or pairs, and how each contender handles them."""

    def __init__(self, kin: Kin, count: int) -> None:
        self._pairs = Pairs(-(-count // 15)) if kin.pairs else None
        self._texts = documents(count)
        self.unit = "pairs" if self._pairs else "documents"
        self.items = len(self._pairs.left) if self._pairs else count
        self.distance = worst_logit if self._pairs else worst_cosine

    def ours(self, folder: Path, dtype: str) -> Callable[[], Float32]:
        """Ours, loaded."""
        values = {"model": str(folder), "dtype": dtype, "max_tokens": MAX_TOKENS}
        if self._pairs is None:
            encoder = load_encoder(EncoderSettings.model_validate(values), "cpu")
            return partial(embedded, encoder, self._texts)
        return partial(
            _scored, load_reranker(CrossSettings.model_validate(values), "cpu"), self._pairs
        )

    def peers(self, folder: Path, dtype: str, way: str) -> list[Contender]:
        """The library, loaded once, in each batch size."""
        values = {"dtype": _TYPES[dtype], "attn_implementation": way}
        told: dict[str, Any] = {"show_progress_bar": False}
        if self._pairs is None:
            model = SentenceTransformer(str(folder), device="cpu", model_kwargs=values)
            run: Callable[..., Any] = partial(model.encode, self._texts, **told)
        else:
            scorer = CrossEncoder(
                str(folder), device="cpu", max_length=MAX_TOKENS, model_kwargs=values
            )
            told["activation_fn"] = torch.nn.Identity()
            run = partial(scorer.predict, self._pairs.texts(), **told)
        return [
            Contender(f"{dtype}, {way}, batch {batch}", partial(run, batch_size=batch), None)
            for batch in BATCHES
        ]


def _scored(reranker: CrossEncoderReranker, pairs: Pairs) -> Float32:
    queries, passages = (
        [spans.ids for spans in reranker.tokeniser.encode(texts)]
        for texts in (pairs.queries, pairs.passages)
    )
    return reranker.score(queries, passages, pairs.left, pairs.right).logits


def save(kin: Kin, folder: Path) -> Path:
    """The model with random weights, as transformers saves it, beside the embedded tokeniser."""
    torch.manual_seed(0)
    make: Any = AutoModelForSequenceClassification if kin.pairs else AutoModel
    more = {"num_labels": 1} if kin.pairs else {}
    config = AutoConfig.for_model(kin.family, **{"vocab_size": 30_527, **kin.values, **more})
    make.from_config(config).save_pretrained(folder)
    embedded = resolve_model("embedded", None)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(embedded / name, folder)
    return folder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=KIN)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    given, console = parser.parse_args(), Console()
    torch.set_num_threads(1)
    console.print(machine())
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        for name in given.names:
            made = benchmark(name, given.count, Path(folder), time.process_time)
            console.print(table(measure(made, given.rounds, time.process_time)))


if __name__ == "__main__":
    main()
