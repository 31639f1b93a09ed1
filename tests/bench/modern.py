"""ModernBERT: our encoder against sentence-transformers, from texts to normalised vectors.

A model of ModernBERT-base's shape with fewer layers and random weights, since the hub's cannot be
had here: what is compared is speed, and that the answers are the same. Its tokeniser is the
embedded model's. Texts are docstrings at their natural lengths, cut at `MAX_TOKENS`; the long ones
are several joined. The peers' batch is the fastest of a few; they attend by torch's sdpa.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from transformers import ModernBertConfig, ModernBertModel

from shardrank.core.arrays import Float32
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from shardrank.models.folder.resolve import resolve_model
from tests.bench.distances import worst_cosine
from tests.bench.embed import INT8_TOLERANCE, TOLERANCE, ours
from tests.bench.harness import Benchmark, Contender, Duel, fastest
from tests.bench.machine import float_dtypes
from tests.bench.masked import DOCUMENTS, Masked
from tests.bench.texts import documents

LAYERS, MAX_TOKENS, LONG_TOKENS = 6, 512, 4096
BATCHES = (1, 2, 4, 8, 16, 32)
FP32 = "sentence-transformers fp32"
OURS = "shardrank fp32"


def short(folder: Path, count: int) -> Benchmark:
    """`count` documents."""
    return _benchmark(_saved(folder, MAX_TOKENS), documents(count), "", 2.2)


def long(folder: Path) -> Benchmark:
    """Two texts of 4,096 tokens: of which near attention sees a window."""
    every = documents(2_000)
    texts = [" ".join(every[i::2]) for i in range(2)]
    return _benchmark(_saved(folder, LONG_TOKENS), texts, " long", 2.2)


def _benchmark(folder: Path, texts: Sequence[str], kind: str, goal: float) -> Benchmark:
    peers = {dtype: _best(folder, texts, dtype) for dtype in float_dtypes()}
    own = dict.fromkeys(peers, TOLERANCE) | {"int8": INT8_TOLERANCE}
    contenders = [
        *(Contender(f"sentence-transformers {dtype}", peers[dtype].run, None) for dtype in peers),
        *(
            Contender(f"shardrank {dtype}", partial(ours, _load(folder, dtype), texts), tolerance)
            for dtype, tolerance in own.items()
        ),
    ]
    duels = [
        *(
            Duel(f"shardrank {dtype}", f"sentence-transformers {dtype}", floor=1.5, goal=goal)
            for dtype in peers
        ),
        Duel("shardrank int8", FP32, floor=3, goal=5),
    ]
    best = " and ".join(each.name for each in peers.values())
    name = f"ModernBERT{kind} (peer's best: {best})"
    return Benchmark(name, "documents", len(texts), contenders, duels, worst_cosine)


def masked() -> Benchmark:
    """20 documents on AVX2 alone, in a process of its own."""
    contenders = Masked("modern").contenders({FP32: None, OURS: TOLERANCE})
    duels = [Duel(OURS, FP32, floor=1.5, goal=1.7)]
    name = "ModernBERT, AVX2 only"
    return Benchmark(name, "documents", DOCUMENTS, contenders, duels, worst_cosine)


def in_fp32(count: int) -> Mapping[str, Callable[[], Any]]:
    """Ours and the peer at its best, of `count` documents."""
    texts = documents(count)
    with TemporaryDirectory() as made:
        folder = _saved(Path(made), MAX_TOKENS)
        peer, own = _best(folder, texts, "fp32"), _load(folder, "fp32")
    return {FP32: peer.run, OURS: partial(ours, own, texts)}


def _saved(folder: Path, most: int) -> Path:
    """The random model and its tokeniser; one folder for each longest input."""
    own = folder / f"modern-{most}"
    if not own.exists():
        torch.manual_seed(0)
        config = ModernBertConfig(
            vocab_size=30522,
            num_hidden_layers=LAYERS,
            pad_token_id=0,
            bos_token_id=101,
            cls_token_id=101,
            eos_token_id=102,
            sep_token_id=102,
        )
        ModernBertModel(config).save_pretrained(own)
        _copy_tokeniser(own, most)
    return own


def _copy_tokeniser(folder: Path, most: int) -> None:
    base = resolve_model("embedded", None)
    shutil.copy(base / "vocab.txt", folder)
    whole = json.loads((base / "tokenizer.json").read_text("utf-8"))
    whole |= {"truncation": None, "padding": None}
    (folder / "tokenizer.json").write_text(json.dumps(whole), "utf-8")
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": most,
            "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]",
            "model_input_names": ["input_ids", "attention_mask"]}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(told), "utf-8")


def _load(folder: Path, dtype: str) -> BiEncoder:
    return load_encoder(
        EncoderSettings.model_validate({"model": str(folder), "dtype": dtype}), "cpu"
    )


def _best(folder: Path, texts: Sequence[str], dtype: str) -> Contender:
    """The peer with its best batch."""
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    kwargs = {"dtype": kind, "attn_implementation": "sdpa"}
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs=kwargs)

    def encode(size: int) -> Float32:
        found: Float32 = model.encode(
            list(texts), batch_size=size, show_progress_bar=False, normalize_embeddings=True
        )
        return found

    sizes = [size for size in BATCHES if size <= len(texts)]
    return fastest([Contender(f"batch {size}", partial(encode, size), None) for size in sizes])
