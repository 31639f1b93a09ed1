"""Token vectors: our encoder of family late against sentence-transformers' MultiVectorEncoder, from
texts to the normalised vectors of all tokens that are not punctuation; and codes of 2 bits of them.

The model is the embedded one's transformer, whose token vectors stand for those of a model that was
trained for it: what is compared is speed, and that the answers are the same. The peer's batch is
    the
fastest of a few.
"""

import string
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from shardrank.core.arrays import Float32
from shardrank.core.late_settings import LateSettings
from shardrank.models.encoders.late import LateEncoder, load_late
from shardrank.models.folder.resolve import resolve_model
from tests.bench.distances import worst_cosine
from tests.bench.embed import INT8_TOLERANCE, TOLERANCE
from tests.bench.harness import Benchmark, Contender, Duel, fastest
from tests.bench.texts import documents

MAX_TOKENS = 180
BATCHES = (8, 16, 32)
PEER, OURS, OURS_INT8 = "MultiVectorEncoder fp32", "shardrank fp32", "shardrank int8"


def benchmark(count: int, folder: Path) -> Benchmark:
    """`count` documents, cut at 180 tokens."""
    texts, saved = documents(count), _saved(folder / "late")
    model = MultiVectorEncoder(str(saved), device="cpu")
    best = fastest(
        [Contender(f"batch {n}", partial(_peer, model, texts, n), None) for n in BATCHES]
    )
    contenders = [
        Contender(PEER, best.run, None),
        Contender(OURS, partial(_ours, _load(saved, "fp32"), texts), TOLERANCE),
        # A token's vector alone is less even than a text's mean.
        Contender(OURS_INT8, partial(_ours, _load(saved, "int8"), texts), 10 * INT8_TOLERANCE),
    ]
    duels = [Duel(OURS, PEER, floor=1, goal=1.3), Duel(OURS_INT8, PEER, floor=2.5, goal=4)]
    name = f"token vectors (peer's best: {best.name})"
    return Benchmark(name, "documents", count, contenders, duels, worst_cosine)


def _saved(folder: Path) -> Path:
    modules = [
        Transformer(str(resolve_model("embedded", None)), document_length=MAX_TOKENS),
        MultiVectorMask(skiplist_words=[*string.punctuation]),
        Normalize(module_input_name="token_embeddings"),
    ]
    MultiVectorEncoder(modules=modules, device="cpu").save(str(folder))
    return folder


def _load(folder: Path, dtype: str) -> LateEncoder:
    return load_late(LateSettings.model_validate({"model": str(folder), "dtype": dtype}), "cpu")


def _ours(encoder: LateEncoder, texts: Sequence[str]) -> Float32:
    found: Float32 = encoder.documents(
        texts, lambda vectors: vectors, np.float32, encoder.card.dim
    ).values
    return found


def _peer(model: MultiVectorEncoder, texts: Sequence[str], batch: int) -> Float32:
    found = model.encode_document(
        list(texts), batch_size=batch, convert_to_numpy=True, show_progress_bar=False
    )
    return np.concatenate(found)
