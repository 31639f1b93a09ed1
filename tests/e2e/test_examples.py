"""Examples are whole programs that users copy: each runs here on little, and does what it says."""

import json
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder

import shardrank
from tests.ending import Killed
from tests.tiny_models import tiny_encoder
from tests.world import make_world, write_lines

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ("passages.max_tokens=32", "passages.overlap=0", "encoder.normalise=true")

pytestmark = [
    pytest.mark.usefixtures("inline"),
    # Of sentence-transformers' trainers and of what they import, not of ours.
    pytest.mark.filterwarnings("ignore"),
]

Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: capsys.readouterr().out


def example(name: str) -> ModuleType:
    spec = spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def run(program: ModuleType, *words: object) -> None:
    """As a user does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["example", *map(str, words)])
        program.main()


def sets(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def hits(folder: Path, query: str) -> list[dict[str, Any]]:
    table = pa.concat_tables(shardrank.read_rankings(folder / "ranked"))
    return [row for row in table.to_pylist() if row["query_id"] == query]


# Turns.


@pytest.fixture(scope="module")
def turns() -> ModuleType:
    return example("taking_turns")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It normalises, as the cosines of pseudo-pairs want it."""
    return tiny_encoder(tmp_path_factory.mktemp("student"), "bert-st", dim=16)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> Path:
    """In BEIR's layout: of 16 queries 10 are for training."""
    world = make_world(tmp_path_factory.mktemp("collection"), models, documents=60, queries=16)
    head, *rows = Path(world.qrels).read_text().splitlines()
    (world.root / "qrels").mkdir()
    for split, kept in (("train", rows[:10]), ("test", rows[10:])):
        (world.root / f"qrels/{split}.tsv").write_text("\n".join([head, *kept]) + "\n")
    return world.root


def take(
    turns: ModuleType, collection: Path, folder: Path, student: Path, ranker: Path, *more: object
) -> None:
    words = ["--student", student, "--ranker", ranker, "--steps", 2, "--batch", 4]
    words += ["--depth", 8, "--negatives", 3, "--rate", 1e-2, "--rounds", 1]
    run(turns, collection, folder, *words, *sets("passages.max_tokens=32"), *more)


def weights(folder: Path) -> list[bytes]:
    return [(folder / f"round-1/{name}/model.safetensors").read_bytes() for name in MODELS]


MODELS = ("ranker", "student")


def test_turns_go_on_where_they_were_killed(
    turns: ModuleType,
    collection: Path,
    student: Path,
    models: tuple[Path, Path],
    tmp_path: Path,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same models and figures, and what was finished is not made again."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    take(turns, collection, whole, student, models[1])
    table = said()
    assert [line.split()[0] for line in table.splitlines()] == ["round", "0", "1"]
    trainer = turns.StudentTrainer.train
    with monkeypatch.context() as patch:
        patch.setattr(turns.StudentTrainer, "train", die)
        with pytest.raises(Killed):
            take(turns, collection, killed, student, models[1])
    assert turns.StudentTrainer.train is trainer
    assert not (killed / "round-1/student").exists()
    ranker = (killed / "round-1/ranker/model.safetensors").stat().st_mtime_ns
    said()
    take(turns, collection, killed, student, models[1])
    assert said() == table
    assert (killed / "round-1/ranker/model.safetensors").stat().st_mtime_ns == ranker
    assert weights(killed) == weights(whole)
    with pytest.raises(SystemExit, match=r"rate = 0\.01"):
        take(turns, collection, killed, student, models[1], "--rate", 1e-3)


def die(*arguments: Any, **more: Any) -> None:
    raise Killed


def test_turns_without_judgements(
    turns: ModuleType,
    collection: Path,
    student: Path,
    models: tuple[Path, Path],
    tmp_path: Path,
    said: Said,
) -> None:
    take(turns, collection, tmp_path, student, models[1], "--turns", "trans-encoder")
    assert len(said().splitlines()) == 3
    forms = [path.name for path in sorted(tmp_path.glob("round-1/labels-*/about/*"))]
    assert forms == ["pseudo-pairs", "pointwise"]


class Known(torch.nn.Module):
    """An encoder whose vectors are given."""

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"sentence_embedding": features["vectors"]}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_retriever_s_loss_is_the_paper_s(turns: ModuleType, share: float) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(5, 4, 8))  # query, positive, three negatives; of four rows
    logits = rng.normal(size=(4, 4))
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = []
    for row in range(4):
        query, *passages = vectors[:, row] / np.linalg.norm(vectors[:, row], axis=1)[:, None]
        scores = np.exp([query @ passage / 0.05 for passage in passages])
        likeness = -sum(np.exp(log_p[row]) * np.log(scores / scores.sum()))
        found = scores[1:] / scores[1:].sum()
        told = [np.exp(logits[row, 0]) / np.exp(logits[row, [0, n]]).sum() for n in (1, 2, 3)]
        expected.append((1 - share) * likeness + share * (found @ np.log(told)))
    features = [{"vectors": torch.tensor(each)} for each in vectors]
    loss = turns.RetrieverLoss(Known(), share)(features, torch.tensor(log_p))
    assert loss.item() == pytest.approx(np.mean(expected))


def test_the_ranker_s_list_has_one_positive(turns: ModuleType) -> None:
    row = {"query": "q", "positive": "p", "negative_1": "n", "negative_2": "m", "label": [0.0] * 3}
    [made] = turns.one_positive(Dataset.from_list([row]))
    assert (made["query"], made["passages"]) == ("q", ["p", "n", "m"])
    assert torch.tensor(made["labels"]).softmax(dim=0).tolist() == [1, 0, 0]


# Entities.

ENTITIES = [
    {"_id": "flow", "names": ["wing flow", "gas transfer", "heat  flow"]},
    {"_id": "shell", "names": ["thin shell", "panel buckling"]},
    {"_id": "jet", "names": ["jet nozzle", "shock wave", "mach number"]},
]
MENTIONS = [
    {"_id": "m0", "text": "heat flow", "entity": "flow"},
    {"_id": "m1", "text": "panel buckling", "entity": "shell"},
    {"_id": "m2", "text": "mach number"},
]


def test_mentions_find_entities_by_any_name(
    models: tuple[Path, Path], tmp_path: Path, said: Said
) -> None:
    files = [write_lines(tmp_path / "e", ENTITIES), write_lines(tmp_path / "m", MENTIONS)]
    given = sets(f"encoder.model={models[0]}", "reranker.model=off", *SMALL)
    run(example("entity_linking"), *files, tmp_path / "made", *given)
    printed = said()
    assert "retrieved {'Accuracy@1': '1.000', 'Recall@5': '1.000', 'Recall@25': '1.000'}" in printed
    assert "heat flow\n  flow: heat flow\n" in printed
    found = hits(tmp_path / "made", "m2")
    assert (found[0]["doc_id"], found[0]["passage"]) == ("jet", 2)
    assert sorted(row["doc_id"] for row in found) == ["flow", "jet", "shell"], "each once"
    version = shardrank.open_index(tmp_path / "made/index").version
    assert (version.live.documents, version.live.passages) == (3, 8)


def test_names_that_are_refused() -> None:
    linking = example("entity_linking")
    for names in ([], [" "], ["x" * 201]):
        with pytest.raises(SystemExit, match="jet: names have 1 to 200 characters"):
            linking.lines_of("jet", names)


# News.


def test_names_are_masked_whole_and_the_longest_first() -> None:
    names = {"Ada": "X", "Ada Lane": "Y", "St. Ives": "Z", "C++": "L"}
    mask = example("masked_news").by_list(names)
    assert mask("Ada Lane left Ada; Adam, St. Ives, C++.") == "Y left X; Adam, Z, L."


def test_masked_news_finds_what_is_alike(models: tuple[Path, Path], tmp_path: Path) -> None:
    news = example("masked_news")
    articles = [
        {"_id": "same-name", "title": "cone", "text": "heat panel"},
        {"_id": "same-event", "title": "jet", "text": "shock wave"},
    ]
    queries = [{"_id": "q", "title": "cone", "text": "shock wave"}]
    given = {"overrides": [f"encoder.model={models[0]}", "reranker.model=off", *SMALL]}

    def mask(text: str) -> str:
        return text.replace("cone", "body").replace("jet", "body")

    news.search(articles, queries, tmp_path, mask, **given)
    first, second = hits(tmp_path, "q")
    assert first["doc_id"] == "same-event"
    assert second["retrieval_score"] < first["retrieval_score"]
    rows = [json.loads(line) for line in (tmp_path / "articles.jsonl").read_text().splitlines()]
    assert rows[1] == {"_id": "same-event", "title": "body", "text": "shock wave"}


# Generations.

GENERATIONS = [
    {"_id": "a#1", "prefix": "wing flow", "candidates": ["shock wave", "wing flow", "heat"]},
    {"_id": "b", "prefix": "thin shell", "candidates": ["wing flow", "panel load", "shell stress"]},
]


@pytest.mark.parametrize("scorer", ["retrieval", "reranker"])
def test_candidates_are_ranked_for_their_own_prefix(
    models: tuple[Path, Path], tmp_path: Path, scorer: str
) -> None:
    generations = example("rank_generations")
    exact = ("encoder.dtype=fp32", "reranker.dtype=fp32")
    given = {"overrides": [f"encoder.model={models[0]}", *SMALL, *exact]}
    named = scorer if scorer == "retrieval" else str(models[1])
    found = generations.rank(GENERATIONS, tmp_path, named, **given)
    assert {name: sorted(order) for name, order in found.items()} == {
        "a#1": [0, 1, 2],
        "b": [0, 1, 2],
    }
    if scorer == "retrieval":
        assert found["a#1"][0] == 1, "its own text is nearest to it"
        return
    plain = CrossEncoder(named, device="cpu", activation_fn=torch.nn.Identity())
    for row in GENERATIONS:
        scores = plain.predict([(row["prefix"], text) for text in row["candidates"]])
        assert found[str(row["_id"])] == np.argsort(-scores).tolist()


@pytest.mark.parametrize("name", ["entity_linking", "masked_news", "rank_generations"])
def test_examples_run_as_they_are(name: str, models: tuple[Path, Path], said: Said) -> None:
    given = sets(f"encoder.model={models[0]}", f"reranker.model={models[1]}", *SMALL)
    run(example(name), *given)
    assert said().count("\n") > 5
