"""Setwise reranking beside the paper's likelihoods, and what becomes of answers that are wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from shardrank.core.errors import SettingsError
from shardrank.core.reranker_settings import SetwiseSettings
from shardrank.models.rerankers.setwise import make_setwise
from shardrank.models.text.prompts import METHODS, parse_prompt, read_prompt
from tests.judges import Stub, by_worth, language_of
from tests.tiny_language import Plain, tiny_language
from tests.tiny_models import WORDS

PASSAGES = [f"{WORDS[6 + i]} {WORDS[26 - i]} {i}" for i in range(14)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language(tmp_path_factory.mktemp("setwise"), seed=3)


def settings(**given: object) -> SetwiseSettings:
    return SetwiseSettings.model_validate({"model": "tiny", **given})


def likeliest(folder: Path, query: str, passages: list[str]) -> int:
    """The paper's set-wise likelihood, plainly: the label whose token has the highest logit."""
    tokeniser = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = parse_prompt(read_prompt("best-of-set"), frozenset(METHODS))
    about = {"query": query, "num": len(passages)}
    listed = "".join(f"[{'ABCDEFG'[i]}] {text}\n" for i, text in enumerate(passages))
    told = prompt.prefix.format(**about) + listed + prompt.suffix.format(**about)
    messages = [
        {"role": "system", "content": prompt.system_message},
        {"role": "user", "content": told},
    ]
    text = tokeniser.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokeniser(text + "[", add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = model(ids).logits[0, -1]
    return int(logits[tokeniser.convert_tokens_to_ids(list("ABCDEFG"[: len(passages)]))].argmax())


def heap_sorted(n: int, k: int, c: int, best: object) -> list[int]:
    """The paper's heap sort, plainly and recursively: the first k of n, and the others behind."""
    heap, found = list(range(n)), []

    def sink(root: int, size: int) -> None:
        below = [i for i in range(c * root + 1, c * root + c + 1) if i < size]
        if below:
            places = [root, *below]
            top = places[best([heap[i] for i in places])]  # type: ignore[operator]
            if top != root:
                heap[root], heap[top] = heap[top], heap[root]
                sink(top, size)

    for root in reversed(range(n)):
        sink(root, n)
    for size in range(n - 1, n - 1 - k, -1):
        found.append(heap[0])
        heap[0] = heap[size]
        sink(0, size)
    return [*found, *(i for i in range(n) if i not in found)]


def test_the_heap_sort_is_the_papers(folder: Path) -> None:
    how = settings(children=2, top=3)
    ranker = make_setwise(how, language_of(folder, "best-of-set", Plain(folder)))
    found = ranker.rank("heat", PASSAGES[:7])
    expected = heap_sorted(
        7, 3, 2, lambda items: likeliest(folder, "heat", [PASSAGES[i] for i in items])
    )
    assert np.argsort(-found.scores).tolist() == expected
    assert found.scores.min() == -7
    assert set(found.counts) == {"calls"}


@pytest.mark.parametrize("sort", ["heapsort", "bubblesort"])
@pytest.mark.parametrize(("children", "top"), [(3, 10), (1, 2), (13, 14)])
def test_a_model_that_knows_finds_the_best(
    folder: Path, sort: str, children: int, top: int
) -> None:
    worth = {text: float((i * 5) % 14) for i, text in enumerate(PASSAGES)}
    language = language_of(folder, "best-of-set", Stub(logits=by_worth(worth)))
    how = settings(sort=sort, children=children, top=top)
    found = make_setwise(how, language).rank("q", PASSAGES)
    best = sorted(range(14), key=lambda i: -worth[PASSAGES[i]])[:top]
    expected = [*best, *(i for i in range(14) if i not in best)]
    assert np.argsort(-found.scores).tolist() == expected


@pytest.mark.parametrize(
    ("answer", "best"),
    [
        ("<think> [1] is vague, [3] is not. </think> <answer>[3]</answer>", 2),
        ("</think><answer> [2] </answer>", 1),
        ("<answer>[2]</answer> and no more", 1),
        ("[3] because it says so, and [3] again", 2),
        ("<answer>[2] or [3]</answer>", None),
        ("<answer>[7]</answer>", None),
        ("<answer>[2], not [7]</answer>", None),
        ("<think> [2] may be", None),
        ("", None),
    ],
)
def test_rank_r1s_answers(folder: Path, answer: str, best: int | None) -> None:
    how = settings(answer="generated", reasoning_tokens=200, top=1, keep_answers=True)
    model = Stub([answer])
    found = make_setwise(how, language_of(folder, "rank-r1", model)).rank("q", PASSAGES[:3])
    assert found.answers == (answer,)
    assert ("unparsed" in found.counts) == (best is None)
    assert "mended" not in found.counts
    if best is None:
        assert np.isnan(found.scores).all()
    else:
        assert found.scores.argmax() == best
    assert f"\n[1] {PASSAGES[0]}\n[2] {PASSAGES[1]}\n[3] {PASSAGES[2]}\nAfter" in model.asked[0]


def test_a_set_that_is_not_read_keeps_what_stood_in_front(folder: Path) -> None:
    how = settings(answer="generated", sort="bubblesort", children=1, top=1)
    model = Stub(["[B]", "who knows", "[B]"])
    found = make_setwise(how, language_of(folder, "best-of-set", model)).rank("q", PASSAGES[:4])
    # 3 over 2; of 1 and 3, 1 stays in front; 1 over 0.
    assert np.argsort(-found.scores).tolist() == [1, 0, 2, 3]
    assert (found.counts["calls"], found.counts["unparsed"]) == (3, 1)


def test_too_many_children_for_the_labels(folder: Path) -> None:
    how = settings(answer="generated", children=30)
    with pytest.raises(SettingsError, match="finds 26 of 31 identifiers"):
        make_setwise(how, language_of(folder, "best-of-set", Stub()))
    make_setwise(settings(children=30), language_of(folder, "best-of-set", Stub()))
