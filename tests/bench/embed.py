"""Embedding: our encoder against sentence-transformers, from texts to normalised vectors.

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
from tests.bench.texts import documents

#: Cosine .9999: what two dtypes of one model may differ by.
TOLERANCE = 1e-4
INT8_TOLERANCE = 5e-3
BATCHES = (16, 32, 64)
DEFAULT, BEST = "sentence-transformers fp32", "sentence-transformers bf16"
OPENVINO, OPENVINO_BATCHES = "OpenVINO int8", (8, 16, 32)


def benchmark(count: int) -> Benchmark:
    """`count` documents; the peer at its default, and in bf16 with its best batch size."""
    texts = documents(count)
    best = fastest([_peer(texts, torch.bfloat16, size) for size in BATCHES])
    contenders = [
        Contender(DEFAULT, _peer(texts, torch.float32, 32).run, None),
        Contender(BEST, best.run, None),
        Contender("shardrank fp32", partial(ours, load("fp32"), texts), TOLERANCE),
        Contender("shardrank bf16", partial(ours, load("bf16"), texts), TOLERANCE),
        Contender("shardrank int8", partial(ours, load("int8"), texts), INT8_TOLERANCE),
    ]
    duels = [
        Duel("shardrank fp32", DEFAULT, floor=1, goal=1.3),
        Duel("shardrank bf16", DEFAULT, floor=2.5, goal=3),
        Duel("shardrank bf16", BEST, floor=1.3, goal=1.6),
        Duel("shardrank int8", DEFAULT, floor=3.4, goal=5),
    ]
    if find_spec("nncf"):
        contenders.append(_openvino(texts))
        duels.append(Duel("shardrank int8", OPENVINO, floor=1, goal=1.3))
    else:
        print(f"{OPENVINO} is not measured: nncf is absent, which `make bench` installs.")
    name = f"embed (peer's best: {best.name})"
    return Benchmark(name, "documents", len(texts), contenders, duels, worst_cosine)


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
