"""Embedding by encoders that are decoders: ours against sentence-transformers, random weights.

python -m tests.bench.embed_decoders qwen3|gemma3 [--documents 32] [--layers 8] [--rounds 5]
    [--masked]

Shapes are those of Qwen3-Embedding-0.6B and of EmbeddingGemma-300m with fewer layers and a smaller
vocabulary, by MiniLM's tokeniser. Of Qwen3's last layer ours computes one token an input: of 8
layers that is a tenth of the work, of all 28 a thirtieth. Seconds are the CPU's, of one thread,
which other work on the machine changes less. `--masked` measures fp32 alone, on AVX2.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoModel, Gemma3TextConfig, PreTrainedConfig, Qwen3Config
from transformers.utils import logging

from shardrank.core.model_settings import EncoderSettings
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from shardrank.models.folder.resolve import resolve_model
from tests.bench.distances import worst_cosine
from tests.bench.embed import ours
from tests.bench.harness import Benchmark, Contender, Duel, fastest, measure
from tests.bench.show import table
from tests.bench.texts import documents
from tests.cpus import AVX2_ONLY

BATCHES = (1, 4, 16)
FP32, BF16 = "sentence-transformers fp32", "sentence-transformers bf16"
#: 1 less the cosine to fp32, of random weights.
TOLERANCES = {"fp32": 1e-5, "bf16": 2e-3, "int8": 2e-2}
_WORDS = 30_522


def _qwen3(layers: int) -> PreTrainedConfig:
    return Qwen3Config(
        vocab_size=_WORDS,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
    )


def _gemma3(layers: int) -> PreTrainedConfig:
    return Gemma3TextConfig(
        vocab_size=_WORDS,
        hidden_size=768,
        intermediate_size=1152,
        num_hidden_layers=layers,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=256,
        sliding_window=512,
        max_position_embeddings=2048,
        use_bidirectional_attention=True,
    )


SHAPES = {"qwen3": _qwen3, "gemma3": _gemma3}


def make_model(folder: Path, family: str, layers: int) -> Path:
    """A folder of sentence-transformers with random weights."""
    torch.manual_seed(0)
    config = SHAPES[family](layers)
    raw, whole = folder / "raw", folder / family
    AutoModel.from_config(config).save_pretrained(raw)  # type: ignore[no-untyped-call]
    shutil.copy(resolve_model("embedded", None) / "tokenizer.json", raw)
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    (raw / "tokenizer_config.json").write_text(json.dumps({**said, "model_max_length": 512}))
    transformer, width = Transformer(str(raw)), config.hidden_size
    modules: list[torch.nn.Module] = [transformer, Pooling(width, "lasttoken"), Normalize()]
    if family == "gemma3":
        up, down = _dense(width, 3072), _dense(3072, width)
        modules = [transformer, Pooling(width, "mean"), up, down, Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(whole))
    return whole


def _dense(inputs: int, outputs: int) -> Dense:
    return Dense(inputs, outputs, bias=False, activation_function=torch.nn.Identity())


def benchmark(folder: Path, count: int, dtypes: tuple[str, ...]) -> Benchmark:
    """`count` documents; the peer in each type with its best batch size."""
    texts = documents(count)
    contenders = [Contender(FP32, _best(folder, texts, torch.float32).run, None)]
    duels = []
    if "bf16" in dtypes:
        contenders.append(Contender(BF16, _best(folder, texts, torch.bfloat16).run, None))
    for dtype in dtypes:
        name = f"shardrank {dtype}"
        run = partial(ours, _load(folder, dtype), texts)
        contenders.append(Contender(name, run, TOLERANCES[dtype]))
        peer = FP32 if dtype == "fp32" or "bf16" not in dtypes else BF16
        duels.append(Duel(name, peer, floor=1.4, goal=2))
    return Benchmark(f"embed, {folder.name}", "documents", count, contenders, duels, worst_cosine)


def _best(folder: Path, texts: list[str], dtype: torch.dtype) -> Contender:
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": dtype})
    encode = partial(model.encode, texts, show_progress_bar=False)
    runs = [Contender(f"batch {n}", partial(encode, batch_size=n), None) for n in BATCHES]
    found = fastest(runs, time.process_time)
    print(f"{dtype}: best is {found.name}", flush=True)
    return found


def _load(folder: Path, dtype: str) -> BiEncoder:
    settings = EncoderSettings.model_validate({"model": str(folder), "dtype": dtype})
    return load_encoder(settings, "cpu")


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=[*SHAPES])
    parser.add_argument("--documents", type=int, default=32)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--masked", action="store_true", help="fp32 on AVX2 alone")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    if asked.masked and os.environ.get("ONEDNN_MAX_CPU_ISA") != "AVX2":
        command = [sys.executable, "-m", "tests.bench.embed_decoders", *sys.argv[1:]]
        raise SystemExit(subprocess.call(command, env={**os.environ, **AVX2_ONLY}))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(1)
    dtypes = ("fp32",) if asked.masked else ("fp32", "bf16", "int8")
    with TemporaryDirectory() as folder:
        model = make_model(Path(folder), asked.family, asked.layers)
        made = benchmark(model, asked.documents, dtypes)
        Console().print(table(measure(made, asked.rounds, time.process_time)))


if __name__ == "__main__":
    main()
