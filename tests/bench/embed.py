"""Embedding: our encoder against sentence-transformers, from texts to normalised vectors.

bf16 is measured where the CPU multiplies it; elsewhere it is slower than fp32, and nobody's choice.
All run in one process, which keeps the memory that it frees as ours asks for; the peers gain by it.
"""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec

import torch
from sentence_transformers import SentenceTransformer

from shardrank.core.arrays import Float32
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from shardrank.models.folder.resolve import resolve_model
from tests.bench.distances import worst_cosine
from tests.bench.harness import Benchmark, Contender, Duel, fastest
from tests.bench.machine import float_dtypes
from tests.bench.texts import documents

#: Cosine .9999: what two dtypes of one model may differ by.
TOLERANCE = 1e-4
INT8_TOLERANCE = 5e-3
BATCHES = (16, 32, 64)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
DEFAULT = "sentence-transformers fp32"
OPENVINO, OPENVINO_BATCHES = "OpenVINO int8", (8, 16, 32)


def benchmark(count: int) -> Benchmark:
    """`count` documents; the peer at its default, and in the best dtype and batch size."""
    texts, floats = documents(count), float_dtypes()
    best = fastest([_peer(texts, DTYPES[floats[-1]], size) for size in BATCHES])
    tuned = f"sentence-transformers {floats[-1]}, {best.name}"
    contenders = [
        Contender(DEFAULT, _peer(texts, torch.float32, 32).run, None),
        Contender(tuned, best.run, None),
        *(
            Contender(f"shardrank {dtype}", partial(ours, load(dtype), texts), TOLERANCE)
            for dtype in floats
        ),
        Contender("shardrank int8", partial(ours, load("int8"), texts), INT8_TOLERANCE),
    ]
    duels = float_duels(DEFAULT, tuned)
    if find_spec("nncf"):
        contenders.append(_openvino(texts))
        duels.append(Duel("shardrank int8", OPENVINO, floor=1.25, goal=1.6))
    else:
        print(f"{OPENVINO} is not measured: nncf is absent, which `make bench` installs.")
    return Benchmark("embed", "documents", len(texts), contenders, duels, worst_cosine)


def float_duels(default: str, tuned: str) -> list[Duel]:
    """Of each dtype with the peer's default in fp32, and of the fastest with its best."""
    fast = float_dtypes()[-1]
    return [
        Duel("shardrank fp32", default, floor=1, goal=1.3),
        *([Duel("shardrank bf16", default, floor=2.5, goal=3)] if fast == "bf16" else []),
        Duel(f"shardrank {fast}", tuned, floor=1.3, goal=1.6),
        Duel("shardrank int8", default, floor=4.5, goal=6),
    ]


def load(dtype: str) -> BiEncoder:
    return load_encoder(EncoderSettings.model_validate({"dtype": dtype}), "cpu")


def ours(encoder: BiEncoder, texts: Sequence[str]) -> Float32:
    return encoder.encode_ids([spans.ids for spans in encoder.tokeniser.encode(texts)])


def _peer(texts: Sequence[str], dtype: torch.dtype, batch_size: int) -> Contender:
    folder = resolve_model("embedded", None)
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": dtype})
    run = partial(model.encode, list(texts), batch_size=batch_size, show_progress_bar=False)
    return Contender(f"batch {batch_size}", run, None)


def _openvino(texts: Sequence[str]) -> Contender:
    """In its best batch size; calibrated on other texts. Its answers are its own affair."""
    from tests.bench.openvino_peer import SAMPLES, OpenVinoEncoder

    encoder = OpenVinoEncoder(documents(len(texts) + SAMPLES)[len(texts) :])
    runs = [partial(encoder.encode, texts, batch) for batch in OPENVINO_BATCHES]
    best = fastest([Contender(OPENVINO, run, None) for run in runs])
    return Contender(OPENVINO, best.run, None)
