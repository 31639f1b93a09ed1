"""What the plan says of language models that rerank, and what it and the run itself refuse."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.inline import installed
from tests.tiny_language import tiny_language
from tests.world import World, make_world, shardrank, tiny_models


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("plans")
    return make_world(root / "world", tiny_models(root / "models"), documents=40, queries=6)


@pytest.fixture(scope="module")
def model(world: World) -> Path:
    return tiny_language(world.root / "language")


@pytest.fixture(scope="module")
def index(world: World) -> Path:
    sets = ("passages.max_tokens=40", "passages.part_size=20")
    with installed():
        assert shardrank(*world.index(world.root / "index", *sets)) == 0
    return world.root / "index"


Told = Callable[..., str]


@pytest.fixture
def told(world: World, model: Path, index: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    """What `shardrank plan rank` says with these settings, in one line, and its exit code."""

    def run(*sets: str, plan: bool = True, code: int = 0) -> str:
        own = (f"reranker.model={model}", "reranker.depth=20", *sets)
        words = world.rank(index, world.root / "out", *own)
        if plan:
            words = ["plan", *(word for word in words if word != str(world.root / "out"))]
        with installed():
            assert shardrank(*words) == code
        said = capsys.readouterr()
        return re.sub(r"\s+", " ", said.out + said.err)

    return run


def test_calls_tokens_and_memory_are_told(told: Told) -> None:
    said = told("reranker.family=listwise", "reranker.window=4", "reranker.stride=2")
    assert "listwise, at most 120 pairs in 54 calls; about " in said
    assert "tokens to read a model's actor holds" in said
    assert re.search(
        r"[\d.]+ kB of weights \((fp32|bf16)\), [\d.]+ kB of [\d,]+ tokens' keys", said
    )
    assert "to write" not in said
    assert "does not fit" not in said
    written = told("reranker.family=listwise", "reranker.answer=generated")
    assert "in 6 calls" in written
    assert re.search(r"at most [\d,]+ to write", written)


def test_what_is_written_about_queries_is_told(told: Told, model: Path) -> None:
    writer = (f"writer.model={model}", "reranker.model=off")
    said = told(*writer)
    assert "at most 24 parts in 6 answers of at most 128 tokens" in said
    assert "writing them, and the search of these parts is not in the time below" in said
    drawn = ("writer.makes=passages", "writer.temperature=1", "writer.count=3")
    assert "at most 18 passages in 18 answers" in told(*writer, *drawn)
    refused = told(*writer, "writer.makes=passages", "writer.count=3", code=2)
    assert "writer.count = 3 answers, but all would be the same" in refused


def test_passages_that_would_be_cut_are_told(told: Told) -> None:
    said = told("reranker.family=attention", "reranker.max_tokens=900")
    found = re.search(r"longer passages are cut to about (\d+) tokens: a prompt shows 20", said)
    assert found is not None
    assert 8 <= int(found[1]) < 45


@pytest.mark.parametrize("plan", [True, False])
def test_a_window_that_cannot_fit_is_refused_before_any_work(
    told: Told, world: World, plan: bool
) -> None:
    said = told("reranker.family=listwise", "reranker.max_tokens=400", plan=plan, code=2)
    assert "A prompt about 20 passages has room for 4 tokens of each, and 8 are the least" in said
    assert "reranker.window = 20" in said
    assert "400 tokens at most (reranker.max_tokens)" in said
    assert not list((world.root / "out").glob("**/units"))


def test_lists_are_no_longer_than_search_makes_them(told: Told) -> None:
    sets = ("reranker.family=attention", "reranker.max_tokens=300")
    assert "reranker.depth = 20" in told(*sets, code=2)
    assert "longer passages are cut" in told(*sets, "search.k=5")


def test_a_model_that_does_not_fit_is_told(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardrank.jobs.plan_time.usable_memory", lambda: 1e9)
    said = told("reranker.family=attention")
    assert "does not fit rerank: a worker needs 0.8 GB, and a node has" in said
