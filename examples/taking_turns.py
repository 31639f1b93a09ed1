"""A retriever and a ranker take turns: in each round one learns of the other.

    python examples/taking_turns.py DATA FOLDER --student MODEL --ranker MODEL [--turns NAME]

DATA is a collection in BEIR's layout with qrels/train.tsv and qrels/test.tsv; the student is a
bi-encoder, the ranker a cross-encoder, each a folder or a hub's name. A round ranks the training
queries over the index of the round before, trains the ranker on what was found, labels that by the
ranker, trains the student on the labels, and indexes the corpus anew. There are two ways (--turns):

    ar2            the ranker learns to tell the judged documents from those that the student
                   found, the student to rank as the ranker does and to find what deceives it
                   (Zhang et al. 2021, AR2, arXiv 2110.03611)
    trans-encoder  without judgements: the ranker learns the student's cosines, the student what
                   the ranker makes of them (Liu et al. 2021, arXiv 2109.13059)

What it prints is a row a round: how well the student finds, and the ranker ranks, the test queries,
which taught nothing. Given again, it goes on where it was stopped: a round is a folder, and what is
finished in it is not done again. More --rounds go on as well. Wants sentence-transformers,
datasets and accelerate.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars, load_dataset
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, SentenceTransformer
from sentence_transformers import SentenceTransformerTrainer as StudentTrainer
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, ListNetLoss
from sentence_transformers.cross_encoder.training_args import CrossEncoderTrainingArguments
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
from sentence_transformers.sentence_transformer.training_args import (
    SentenceTransformerTrainingArguments as StudentArguments,
)
from torch.nn.functional import cosine_similarity, logsigmoid
from transformers import PrinterCallback

import shardrank

#: Of the student's cosines: a distribution over them is flat without it.
TEMPERATURE = 0.05
#: The log-probability of what is not the positive.
NEVER = -1e4


@dataclass(frozen=True)
class Recipe:
    """What decides the models; FOLDER/recipe.json holds it.

    Attributes:
        turns: a name in WAYS.
        data, student, ranker: what the first round begins with.
        steps, batch, rate, seed: of either training.
        depth: documents of a training query that are candidates.
        negatives: of a row, of which one is drawn from the whole index.
        adversarial: share of the adversarial term in the student's loss; of ar2.
        sets: settings of shardrank.
    """

    turns: str
    data: str
    student: str
    ranker: str
    steps: int
    batch: int
    rate: float
    seed: int
    depth: int
    negatives: int
    adversarial: float
    sets: list[str]


@dataclass(frozen=True)
class Models:
    """The folders, or names, of both."""

    student: str
    ranker: str


class RetrieverLoss(torch.nn.Module):
    """What AR2's retriever learns of a row (query, positive, negatives), and of the ranker p.

    With P for the student's softmax over cosines / TEMPERATURE and d⁺, d⁻ for the row's passages:

        (1 - a) · H(p, P)  +  a · Σ P(d⁻ | q) · log p(d⁺ | q, {d⁺, d⁻})

    The first is the paper's regularisation, the second its adversarial objective: where the ranker
    is deceived by a negative, the student shall find it. P of the second is over negatives alone.
    """

    def __init__(self, model: SentenceTransformer, adversarial: float) -> None:
        super().__init__()
        self.model, self.adversarial = model, adversarial

    def forward(self, features: Iterable[dict[str, Any]], labels: torch.Tensor) -> torch.Tensor:
        """Labels are float32[rows, 1 + negatives]: the logarithm of p over each row."""
        query, *passages = (self.model(each)["sentence_embedding"] for each in features)
        cosines = [cosine_similarity(query, passage, dim=1) for passage in passages]
        scores = torch.stack(cosines, dim=1) / TEMPERATURE
        likeness = -(labels.exp() * scores.log_softmax(dim=1)).sum(dim=1)
        told_apart = logsigmoid(labels[:, :1] - labels[:, 1:])
        found = (scores[:, 1:].softmax(dim=1) * told_apart).sum(dim=1)
        return ((1 - self.adversarial) * likeness + self.adversarial * found).mean()


def one_positive(rows: Dataset) -> Dataset:
    """Lists of which the first is relevant, as ListNet takes them: its loss is then the cross
    entropy of the positive, as AR2's ranker learns it."""
    names = [name for name in rows.column_names if name.startswith(("positive", "negative"))]
    labels = [0.0] + [NEVER] * (len(names) - 1)

    def listed(row: dict[str, Any]) -> dict[str, Any]:
        return {"passages": [row[name] for name in names], "labels": labels}

    return rows.map(listed, remove_columns=[*names, "label"])


@dataclass(frozen=True)
class Lesson:
    """A format of labels with its settings, what becomes of the rows, and a model's loss."""

    form: str
    sets: Sequence[str]
    rows: Callable[[Dataset], Dataset]
    loss: Callable[[Any, Recipe], torch.nn.Module]


@dataclass(frozen=True)
class Way:
    """What the ranker learns of the student, and the student of the ranker."""

    ranker: Lesson
    student: Lesson


#: Any of the candidates, not the hardest: those are often right, and were only never judged.
LISTS = ("label.pick=random", "label.random_negatives=1")
#: What is found is alike; some pairs shall not be.
PAIRS = ("label.random_negatives=4",)

WAYS = {
    "ar2": Way(
        Lesson("listwise", LISTS, one_positive, lambda model, _: ListNetLoss(model)),
        Lesson("listwise", LISTS, lambda rows: rows, lambda m, r: RetrieverLoss(m, r.adversarial)),
    ),
    "trans-encoder": Way(
        Lesson("pseudo-pairs", PAIRS, lambda rows: rows, lambda m, _: BinaryCrossEntropyLoss(m)),
        Lesson(
            "pointwise",
            (*PAIRS, "label.scale=sigmoid"),
            lambda rows: rows,
            lambda model, _: CosineSimilarityLoss(model),
        ),
    ),
}


@dataclass(frozen=True)
class Work:
    """A recipe, and where it is carried out."""

    recipe: Recipe
    folder: Path

    def round(self, number: int) -> Path:
        """Its folder; round 0 is what there was before."""
        return self.folder / f"round-{number}"

    def qrels(self, split: str) -> Path:
        return Path(self.recipe.data) / "qrels" / f"{split}.tsv"

    def queries(self, split: str) -> Path:
        """A file of the queries that are judged in a split."""
        lines = self.qrels(split).read_text("utf-8").split("\n")[1:]
        judged = {line.split("\t")[0] for line in lines}
        rows = (Path(self.recipe.data) / "queries.jsonl").read_text("utf-8").split("\n")
        path = self.folder / f"{split}.jsonl"
        kept = [row for row in rows if row.strip() and str(json.loads(row)["_id"]) in judged]
        path.write_text("".join(f"{row}\n" for row in kept), "utf-8")
        return path

    def rank(self, number: int, split: str, out: str, student: str, *sets: str) -> Any:
        """The queries of a split over a round's index."""
        return shardrank.rank(
            self.round(number) / "index",
            self.queries(split),
            self.folder / out,
            qrels=self.qrels(split),
            overrides=[*self.recipe.sets, f"encoder.model={student}", *sets],
        )

    def labels(self, number: int, lesson: Lesson, learner: str, teacher: str) -> Dataset:
        """What a teacher says of what the training queries found, as rows for the learner."""
        made, recipe = self.round(number) / f"labels-{learner}", self.recipe
        shardrank.label(
            self.round(number) / "found",
            made,
            format=lesson.form,
            qrels=self.qrels("train") if recipe.turns == "ar2" else None,
            overrides=[
                *recipe.sets,
                f"label.teachers={teacher}",
                f"label.depth={recipe.depth}",
                f"label.negatives={recipe.negatives - 1}",
                *lesson.sets,
            ],
        )
        cache = str(self.folder / "cache")
        return lesson.rows(load_dataset(str(made / lesson.form), split="train", cache_dir=cache))


def take_turns(work: Work, rounds: int) -> None:
    """All rounds, and a row of the table after each."""
    models = Models(work.recipe.student, work.recipe.ranker)
    print(f"{'round':<7}{'nDCG@10':>9}{'gain':>9}{'Recall@100':>12}{'gain':>9}{'reranked':>10}")
    before = judge(work, 0, models, None)
    for number in range(1, rounds + 1):
        models = turn(work, number, models)
        before = judge(work, number, models, before)


def turn(work: Work, number: int, models: Models) -> Models:
    """The models after a round, from those before."""
    way, recipe = WAYS[work.recipe.turns], work.recipe
    found = ("reranker.model=off", f"search.k={recipe.depth}")
    work.rank(number - 1, "train", f"round-{number}/found", models.student, *found)

    def learn_ranker() -> CrossEncoder:
        rows = work.labels(number, way.ranker, "ranker", "retrieval")
        model = CrossEncoder(models.ranker)
        given = arguments(CrossEncoderTrainingArguments, work)
        loss = way.ranker.loss(model, recipe)
        return learnt(CrossEncoderTrainer(model, given, train_dataset=rows, loss=loss))

    def learn_student() -> SentenceTransformer:
        rows = work.labels(number, way.student, "student", ranker)
        model = SentenceTransformer(models.student)
        given = arguments(StudentArguments, work, prompts=prompts_of(model, rows))
        loss = way.student.loss(model, recipe)
        return learnt(StudentTrainer(model, given, train_dataset=rows, loss=loss))

    ranker = finished(work.round(number) / "ranker", learn_ranker)
    return Models(finished(work.round(number) / "student", learn_student), ranker)


def learnt(trainer: Any) -> Any:
    """The trainer's model, trained; a bar on a terminal is all that is told of it."""
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer.model


def finished(folder: Path, learn: Callable[[], Any]) -> str:
    """A model's folder. It has its name once it is whole, so that half a model is never found."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        learn().save_pretrained(str(part))
        part.rename(folder)
    return str(folder)


def prompts_of(student: SentenceTransformer, rows: Dataset) -> dict[str, str]:
    """Of each column of texts what the student puts before it, as when it indexes and ranks."""
    asked, shown = (student.prompts.get(name) or "" for name in ("query", "document"))
    texts = [name for name in rows.column_names if name not in ("label", "score")]
    return {name: asked if name == "query" else shown for name in texts}


def arguments(kind: type, work: Work, **more: Any) -> Any:
    """Of either trainer."""
    recipe = work.recipe
    return kind(
        output_dir=str(work.folder / "trainer"),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.rate,
        warmup_steps=recipe.steps // 10,
        seed=recipe.seed,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=not sys.stderr.isatty(),
        **more,
    )


def judge(
    work: Work, number: int, models: Models, before: tuple[float, float] | None
) -> tuple[float, float]:
    """Index the corpus by the student, rank the test queries, and print what both are worth."""
    corpus, index = Path(work.recipe.data) / "corpus.jsonl", work.round(number) / "index"
    sets = [*work.recipe.sets, f"encoder.model={models.student}"]
    shardrank.index(corpus, index, overrides=sets)
    judged = (
        "evaluate.metrics=nDCG@10,Recall@100",
        f"reranker.model={models.ranker}",
        f"reranker.depth={work.recipe.depth}",
        "reranker.interpolation=1",
    )
    ranked = work.rank(number, "test", f"round-{number}/judged", models.student, *judged)
    retrieved, reranked = ranked.metrics["retrieved"], ranked.metrics["reranked"]
    found = retrieved["nDCG@10"], retrieved["Recall@100"]
    gains = [f"{a - b:+.4f}" for a, b in zip(found, before, strict=True)] if before else ["", ""]
    print(
        f"{number:<7}{found[0]:>9.4f}{gains[0]:>9}{found[1]:>12.4f}{gains[1]:>9}"
        f"{reranked['nDCG@10']:>10.4f}",
        flush=True,
    )
    return found


def claim(folder: Path, recipe: Recipe) -> Work:
    """FOLDER for this recipe. Another one's models would go on as if they were of this one."""
    folder.mkdir(parents=True, exist_ok=True)
    path, given = folder / "recipe.json", asdict(recipe)
    if not path.exists():
        path.write_text(json.dumps(given, indent=2) + "\n", "utf-8")
    held = json.loads(path.read_text("utf-8"))
    other = [f"{name} = {held.get(name)!r}" for name in given if held.get(name) != given[name]]
    if other:
        raise SystemExit(f"{path} has {', '.join(other)}. Choose another FOLDER, or remove it.")
    return Work(recipe, folder)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--student", required=True, help="a bi-encoder")
    parser.add_argument("--ranker", required=True, help="a cross-encoder")
    parser.add_argument("--turns", choices=WAYS, default="ar2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="of either training, each round")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--depth", type=int, default=50, help="candidates of a training query")
    parser.add_argument("--negatives", type=int, default=7, help="of a training row")
    parser.add_argument("--adversarial", type=float, default=0.5, help="of ar2's loss, from 0 to 1")
    parser.add_argument("--set", action="append", default=[], help="a setting of shardrank")
    given = vars(parser.parse_args())
    folder, rounds, sets = (given.pop(name) for name in ("folder", "rounds", "set"))
    given["data"] = str(given["data"].resolve())
    disable_progress_bars()
    take_turns(claim(folder, Recipe(**given, sets=sets)), rounds)


if __name__ == "__main__":
    main()
