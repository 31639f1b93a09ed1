"""Groupwise reranking: grades as they are written, and as they are expected."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from shardrank.core.errors import SettingsError
from shardrank.core.reranker_settings import GroupwiseSettings
from shardrank.models.rerankers.beside import Beside
from shardrank.models.rerankers.groupwise import make_groupwise
from shardrank.models.rerankers.listed import AskingList
from shardrank.models.rerankers.registry import prompt_tokens, read_reranker, reads_grades
from shardrank.models.text.prompts import METHODS, parse_prompt, read_prompt
from shardrank.orders.answers import numbers
from shardrank.orders.calls import NAME_TOKENS
from shardrank.orders.grades import grades
from tests.judges import Stub, language_of
from tests.tiny_language import Plain, tiny_language
from tests.tiny_models import WORDS

PASSAGES = [f"{WORDS[6 + i]} {WORDS[26 - i]} {i}" for i in range(14)]
TEN = [str(grade) for grade in range(11)]
NAN = float("nan")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language(tmp_path_factory.mktemp("groupwise"), seed=5)


def settings(**given: object) -> GroupwiseSettings:
    return GroupwiseSettings.model_validate({"model": "tiny", **given})


@pytest.mark.parametrize(
    ("answer", "scores", "mended"),
    [
        ('{"[1]": 5, "[2]": 0, "[3]": 10}', [5, 0, 10], False),
        ('<reason>[1]: 9 [2]</reason><answer>```json\n{"[2]": 3, "[1]": 4}```', [4, 3, NAN], True),
        ("[1]:2\n[3]: 7", [2, NAN, 7], True),
        ('{\n"1": 7, "2": "3", "3": 4}', [7, 3, 4], False),
        ("1: 7, 2: 3, 3: 4", [NAN, NAN, NAN], False),
        ('{"[1]": 5, "[1]": 6, "[2]": 1, "[3]": 1}', [NAN, 1, 1], True),
        ('{"[1]": 5, "[1]": 5, "[2]": 1, "[3]": 1}', [5, 1, 1], False),
        ('{"[1]": 11, "[2]": -1, "[3]": 7.5}', [NAN, NAN, NAN], False),
        ('{"[1]": 5, "[2]": 4, "[3]": 3, "[4]": 9}', [5, 4, 3], True),
        ("<reason>[1]: 9, [2]: 8, and", [NAN, NAN, NAN], False),
        ("", [NAN, NAN, NAN], False),
    ],
)
def test_grades_are_read_strictly(answer: str, scores: list[float], mended: bool) -> None:
    found = grades(answer, numbers(3), TEN)
    assert np.array_equal(found.scores, scores, equal_nan=True)
    assert (found.parsed, found.mended) == (not np.isnan(scores).all(), mended)


@given(st.text(max_size=200))
def test_no_text_is_too_much(text: str) -> None:
    assert grades(text, numbers(3), TEN).scores.shape == (3,)


@given(st.lists(st.integers(0, 10), min_size=1, max_size=20))
def test_what_is_written_is_read(wanted: list[int]) -> None:
    body = ", ".join(f'"[{i + 1}]": {grade}' for i, grade in enumerate(wanted))
    found = grades("{" + body + "}", numbers(len(wanted)), TEN)
    assert found.scores.tolist() == wanted
    assert not found.mended


def test_a_passages_score_is_its_mean_grade(folder: Path) -> None:
    model = Stub(['{"[1]": 8, "[2]": 2}', "no idea", '{"[1]": 4}', '{"[2]": 6, "[1]": 1}'])
    language = language_of(folder, "grades", model)
    found = make_groupwise(settings(group=2, passes=2), language).rank("q", PASSAGES[:4])
    # Groups are (0, 2), (1, 3), then from the end (3, 0), (2, 1): see shardrank.orders.groups.
    assert [[PASSAGES.index(p) for p in PASSAGES[:4] if p in text] for text in model.asked] == [
        [0, 2],
        [1, 3],
        [0, 3],
        [1, 2],
    ]
    assert np.array_equal(found.scores, np.array([8, 6, 1.5, 4], np.float32), equal_nan=True)
    assert (found.counts["calls"], found.counts["unparsed"], found.counts["mended"]) == (4, 1, 1)


def test_what_nobody_graded_has_no_score(folder: Path) -> None:
    language = language_of(folder, "grades", Stub(['{"[2]": 9}']))
    found = make_groupwise(settings(passes=1), language).rank("q", PASSAGES[:3])
    assert np.array_equal(found.scores, np.array([NAN, 9, NAN], np.float32), equal_nan=True)


def test_grouprank_reasons_first(folder: Path) -> None:
    answer = (
        '<reason>\n[1]: weak\n</reason>\n<answer>\n```json\n{"[1]": 1, "[2]": 7}\n```\n</answer>'
    )
    model = Stub([answer])
    how = settings(passes=1, reasoning_tokens=300, keep_answers=True)
    found = make_groupwise(how, language_of(folder, "grouprank", model)).rank("q", ["x", "y"])
    assert found.scores.tolist() == [1, 7]
    assert found.answers == (answer,)
    assert "Documents:\n[1]. x\n\n[2]. y\n\n\n\n## Final" in model.asked[0]
    assert '{"[1]": 5, "[2]": 3, "[3]": 8}' in model.asked[0]


def expected_grades(folder: Path, query: str, passages: list[str]) -> list[float]:
    """Σ g·p(g), plainly: of the digits behind each passage's identifier."""
    tokeniser = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = parse_prompt(read_prompt("expected-grades"), frozenset(METHODS))
    about = {"query": query, "num": len(passages)}
    listed = "".join(f"[{i + 1}] {text}\n" for i, text in enumerate(passages))
    told = prompt.prefix.format(**about) + listed + prompt.suffix.format(**about)
    messages = [
        {"role": "system", "content": prompt.system_message},
        {"role": "user", "content": told},
    ]
    text = tokeniser.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    digits = tokeniser.convert_tokens_to_ids(list("0123456789"))
    found = []
    for i in range(len(passages)):
        ids = tokeniser(f"{text}[{i + 1}]:", add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            logits = model(ids["input_ids"]).logits[0, -1, digits].double()
        found.append(float((logits.softmax(0) * torch.arange(10)).sum()))
    return found


def test_expected_grades_are_the_formulas(folder: Path) -> None:
    language = language_of(folder, "expected-grades", Plain(folder))
    found = make_groupwise(settings(passes=1), language).rank("heat", PASSAGES[:6])
    np.testing.assert_allclose(
        found.scores, expected_grades(folder, "heat", PASSAGES[:6]), atol=1e-4
    )
    assert dict(found.counts) == {"calls": 1}
    assert np.ptp(found.scores) > 1e-3


def test_logits_that_are_no_numbers_give_no_grade(folder: Path) -> None:
    model = Stub(logits=lambda text, names: [NAN if "[2]:" in text[-5:] else 1.0] * len(names))
    language = language_of(folder, "expected-grades", model)
    found = make_groupwise(settings(passes=1), language).rank("q", ["x", "y"])
    assert np.array_equal(found.scores, np.array([4.5, NAN], np.float32), equal_nan=True)


def test_what_does_not_fit_has_no_score(folder: Path) -> None:
    for prompt in ("grades", "expected-grades"):
        language = language_of(folder, prompt, Stub(), limit=300)
        found = make_groupwise(settings(), language).rank("heat " * 400, ["x", "y"])
        assert np.isnan(found.scores).all()
        assert dict(found.counts) == {"too_long": 1}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"9"]', '"9", "10"]', "'10' is not one token"),
        ('"9"]', '"nine"]', "no integer"),
        ("scale:", "output: 1\n#", "a key 'output'"),
        ("scale:", "#", "no scale"),
    ],
)
def test_prompts_that_cannot_be(folder: Path, old: str, new: str, message: str) -> None:
    prompt = read_prompt("expected-grades").replace(old, new)
    with pytest.raises(SettingsError, match=message):
        make_groupwise(settings(), language_of(folder, prompt, Stub()))


def test_logits_do_not_reason(folder: Path) -> None:
    how = settings(reasoning_tokens=9)
    with pytest.raises(SettingsError, match="reasoning_tokens = 9"):
        make_groupwise(how, language_of(folder, "expected-grades", Stub()))


@pytest.mark.parametrize(("prompt", "read_off"), [("grades", False), ("expected-grades", True)])
def test_a_prompt_is_foretold_as_it_is(folder: Path, prompt: str, read_off: bool) -> None:
    """Beside its passages, their names and its query."""
    how = settings(model=str(folder), prompt=prompt, group=2, depth=4, passage_tokens=8)
    card = read_reranker(how, Beside(False, {}), 4)
    found = prompt_tokens(how, card, 4)
    asking = AskingList.of(language_of(folder, prompt, Stub([])), 8)
    asked = asking.about("ab", ["cd", "ef"], numbers(2), 1)
    assert asked is not None
    empty = asking.about("", ["", ""], numbers(2), 1)
    assert empty is not None
    assert found == len(empty.input) - 2 * NAME_TOKENS
    assert len(asked.input) > len(empty.input)
    assert reads_grades(card) is read_off
