"""How often a model is asked is what the families do, or more."""

from pathlib import Path

import pytest

from shardrank.core.reranker_settings import (
    AnswerSettings,
    GroupwiseSettings,
    ListwiseSettings,
    SetwiseSettings,
)
from shardrank.models.rerankers.groupwise import make_groupwise
from shardrank.models.rerankers.listwise import make_listwise
from shardrank.models.rerankers.setwise import make_setwise
from shardrank.orders.calls import Asked, Tokens, most_asked, most_tokens
from tests.judges import Stub, language_of, shown
from tests.tiny_language import tiny_language


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language(tmp_path_factory.mktemp("calls"))


CASES = [
    (make_listwise, ListwiseSettings, "order", {"window": 4, "stride": 2, "passes": 2}),
    (make_listwise, ListwiseSettings, "order", {"window": 3, "stride": 3}),
    (make_listwise, ListwiseSettings, "order", {}),
    (make_setwise, SetwiseSettings, "best-of-set", {"top": 3, "children": 2}),
    (make_setwise, SetwiseSettings, "best-of-set", {"top": 3, "sort": "bubblesort"}),
    (make_groupwise, GroupwiseSettings, "expected-grades", {"group": 4}),
]


@pytest.mark.parametrize(("make", "kind", "prompt", "given"), CASES)
@pytest.mark.parametrize("n", [1, 2, 7, 13])
def test_no_list_is_asked_about_more_often(
    folder: Path, make: object, kind: type[AnswerSettings], prompt: str, given: object, n: int
) -> None:
    model = Stub(logits=lambda text, names: [float(i) for i in range(len(names))])
    how = kind.model_validate({"model": "tiny", **given})  # type: ignore[dict-item]
    reranker = make(how, language_of(folder, prompt, model))  # type: ignore[operator]
    found = reranker.rank("q", [f"text {i}" for i in range(n)])
    most, calls = most_asked(how, n), found.counts.get("calls", 0)
    read = sum(len(shown(text)) for text in dict.fromkeys(model.asked))
    if kind is ListwiseSettings:
        assert most == Asked(calls, sum(len(shown(text)) for text in model.asked), 0)
    elif kind is SetwiseSettings:
        assert calls <= most.calls
        assert read <= most.passages
    else:
        assert (most.calls, most.passages) == (calls, 2 * n)


def test_tokens_of_a_list() -> None:
    how = ListwiseSettings(family="listwise", model="m", answer="generated", reasoning_tokens=100)
    assert most_asked(how, 100) == Asked(calls=9, passages=180, named=180)
    assert most_tokens(how, 100, query=10, passage=1000) == Tokens(
        read=9 * 160 + 180 * 306, written=9 * 100 + 180 * 6
    )
