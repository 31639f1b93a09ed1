"""Listwise reranking beside plain references, and what becomes of answers that are wrong."""

from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from shardrank.core.errors import SettingsError
from shardrank.core.protocols import ListScores
from shardrank.core.reranker_settings import ListwiseSettings
from shardrank.models.rerankers.listwise import make_listwise
from tests.judges import Stub, by_worth, language_of, shown
from tests.tiny_language import TEMPLATE, Plain, tiny_language
from tests.tiny_models import WORDS

PASSAGES = [f"{WORDS[6 + i]} {WORDS[26 - i]} {i}" for i in range(14)]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language(tmp_path_factory.mktemp("listwise"))


def settings(**given: object) -> ListwiseSettings:
    return ListwiseSettings.model_validate({"model": "tiny", **given})


def order_of(found: ListScores) -> list[int]:
    """The passages from the best; their scores are minus their ranks."""
    order = np.argsort(-found.scores)
    assert np.array_equal(found.scores[order], -np.arange(1, len(order) + 1))
    assert found.scores.dtype == np.float32
    return [int(place) for place in order]


def first_token_order(folder: Path, query: str, passages: list[str]) -> list[int]:
    """FIRST, plainly: the letters' logits behind "[", where the answer begins."""
    tokeniser = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    listed = "".join(f"[{LETTERS[i]}] {text}\n" for i, text in enumerate(passages))
    system = (
        "You are RankLLM, an intelligent assistant that can rank passages based on their relevancy "
        "to the query"
    )
    told = (
        f"I will provide you with {len(passages)} passages, each indicated by an alphabetical "
        "identifier []. Rank the passages based on their relevance to the search query: "
        f"{query}.\n{listed}Search Query: {query}.\nRank the {len(passages)} passages above based "
        "on their relevance to the search query. All the passages should be included and listed "
        "using identifiers, in descending order of relevance. The output format should be [] > [], "
        "e.g., [B] > [A], Answer concisely and directly and only respond with the ranking results, "
        "do not say any word or explain."
    )
    messages = [{"role": "system", "content": system}, {"role": "user", "content": told}]
    text = tokeniser.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokeniser(text + "[", add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = model(ids).logits[0, -1]
    letters = tokeniser.convert_tokens_to_ids(list(LETTERS[: len(passages)]))
    return [int(i) for i in torch.sort(logits[letters], descending=True, stable=True).indices]


def windowed(n: int, size: int, stride: int, judge: object) -> list[int]:
    """RankGPT's windows, plainly: from the end, until one has begun at the first."""
    order, end = list(range(n)), n
    while True:
        begin = max(end - size, 0)
        window = order[begin:end]
        order[begin:end] = [window[i] for i in judge(window)]  # type: ignore[operator]
        if begin == 0:
            return order
        end -= stride


def test_the_first_tokens_order_is_the_papers(folder: Path) -> None:
    how = settings(window=6, stride=3, prompt="rank-zephyr-alpha")
    ranker = make_listwise(how, language_of(folder, "rank-zephyr-alpha", Plain(folder)))
    found = ranker.rank("heat of a wing", PASSAGES[:10])
    expected = windowed(
        10,
        6,
        3,
        lambda window: first_token_order(folder, "heat of a wing", [PASSAGES[i] for i in window]),
    )
    assert order_of(found) == expected
    assert expected != list(range(10))
    assert dict(found.counts) == {"calls": 3}
    assert not found.truncated.any()


@pytest.mark.parametrize(("window", "stride", "passes"), [(14, 5, 1), (40, 10, 1), (4, 2, 3)])
def test_a_model_that_knows_brings_the_best_forward(
    folder: Path, window: int, stride: int, passes: int
) -> None:
    worth = {text: float((i * 5) % 14) for i, text in enumerate(PASSAGES)}
    model = Stub(logits=by_worth(worth))
    how = settings(window=window, stride=stride, passes=passes)
    found = make_listwise(how, language_of(folder, "order", model)).rank("heat", PASSAGES)
    ideal = sorted(range(14), key=lambda i: -worth[PASSAGES[i]])
    sure = 14 if window >= 14 else stride * passes
    assert order_of(found)[:sure] == ideal[:sure]
    assert found.counts["calls"] == len(model.asked) == passes * (1 if window >= 14 else 6)


def test_more_than_26_passages_have_further_letters(folder: Path) -> None:
    passages = [f"passage {i}" for i in range(52)]
    worth = {text: float((i * 7) % 52) for i, text in enumerate(passages)}
    model = Stub(logits=by_worth(worth))
    how = settings(window=52, depth=52)
    found = make_listwise(how, language_of(folder, "order", model)).rank("heat", passages)
    assert order_of(found) == sorted(range(52), key=lambda i: -worth[passages[i]])
    assert list(shown(model.asked[0]))[24:28] == ["Y", "Z", "a", "b"]


def test_a_bracket_may_be_part_of_a_letters_token(tmp_path: Path) -> None:
    """As in Qwen's vocabulary, which has "[A" and the like, but for O and Q."""
    folder = tiny_language(tmp_path)
    tokeniser = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokeniser.add_tokens([f"[{letter}" for letter in LETTERS if letter not in "OQ"])
    tokeniser.save(str(folder / "tokenizer.json"))
    passages = [f"passage {i}" for i in range(20)]
    worth = {text: float((i * 7) % 20) for i, text in enumerate(passages)}
    model = Stub(logits=by_worth(worth))
    ranker = make_listwise(settings(), language_of(folder, "order", model))
    found = ranker.rank("heat", passages)
    assert order_of(found) == sorted(range(20), key=lambda i: -worth[passages[i]])
    assert list(shown(model.asked[0])) == list("ABCDEFGHIJKLMNPRSTUV")
    assert model.asked[0].endswith("assistant\n")
    with pytest.raises(SettingsError, match="vocabulary has 28 letters"):
        make_listwise(settings(window=29, depth=29), language_of(folder, "order", model))


def test_too_few_identifiers_are_counted(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"vocabulary has 5\d letters .*for 90 passages"):
        make_listwise(settings(window=90, depth=90), language_of(folder, "order", Stub()))
    with pytest.raises(SettingsError, match=r"vocabulary has 9 numbers .*for 20 passages"):
        make_listwise(settings(), language_of(folder, "rank-zephyr", Stub()))
    how = settings(window=30, depth=30, answer="generated")
    with pytest.raises(SettingsError, match="finds 26 of 30 identifiers: not AA"):
        make_listwise(how, language_of(folder, "order", Stub()))


def test_a_window_is_no_longer_than_the_list(folder: Path) -> None:
    """Windows of more passages than there are identifiers, where depth keeps lists short."""
    make_listwise(settings(window=500, depth=20), language_of(folder, "order", Stub()))


ANSWERS = [
    ("[2] > [1] > [4] > [3]", [1, 0, 3, 2], {}),
    ("[4] > [2]", [3, 1, 0, 2], {"mended": 1}),
    ("[2] > [2] > [1] > [3] > [4]", [1, 0, 2, 3], {"mended": 1}),
    ("[9] > [3] > [1] > [2] > [4]", [2, 0, 1, 3], {"mended": 1}),
    ("I think that 2 is best.", None, {"unparsed": 1}),
    ("", None, {"unparsed": 1}),
]


@pytest.mark.parametrize(("answer", "order", "wrong"), ANSWERS)
def test_written_orders_are_mended_by_rule(
    folder: Path, answer: str, order: list[int] | None, wrong: dict[str, int]
) -> None:
    model = Stub([answer])
    how = settings(answer="generated", keep_answers=True)
    found = make_listwise(how, language_of(folder, "rank-zephyr", model)).rank("q", PASSAGES[:4])
    tokens = len(model.tokeniser.encode([answer])[0].ids)
    told = {"calls": 1, "generated": tokens} | wrong
    assert dict(found.counts) == {name: count for name, count in told.items() if count}
    assert found.answers == (answer,)
    if order is None:
        assert np.isnan(found.scores).all()
    else:
        assert order_of(found) == order


def test_a_window_that_is_not_read_keeps_its_order(folder: Path) -> None:
    answers = ["[4] > [3] > [2] > [1]", "none", "[2] > [1] > [3] > [4]"]
    how = settings(answer="generated", window=4, stride=2)
    language = language_of(folder, "rank-zephyr", Stub(answers))
    found = make_listwise(how, language).rank("q", PASSAGES[:8])
    assert order_of(found) == [1, 0, 2, 3, 7, 6, 5, 4]
    assert (found.counts["calls"], found.counts["unparsed"]) == (3, 1)
    assert found.answers == ()


def test_reasoning_goes_before_the_answer(tmp_path: Path) -> None:
    thoughtful = TEMPLATE.replace(
        "assistant\n{% endif %}",
        "assistant\n{% if enable_thinking %}<think>\n{% endif %}{% endif %}",
    )
    folder = tiny_language(tmp_path, template=thoughtful)
    how = settings(answer="generated", reasoning_tokens=300, keep_answers=True)
    model = Stub(["[3] is good, but </think> [2] > [1] > [3]", "[3] > [2], or so. I won"])
    ranker = make_listwise(how, language_of(folder, "rank-zephyr", model))
    found = ranker.rank("q", PASSAGES[:3])
    assert order_of(found) == [1, 0, 2]
    assert found.answers[0].startswith("<think>[3] is good")
    assert model.asked[0].endswith("assistant\n<think>\n")
    assert model.most[0] > 300
    assert np.isnan(ranker.rank("q", PASSAGES[:3]).scores).all()  # its thought has no end


def test_logits_that_are_no_numbers_say_nothing(folder: Path) -> None:
    broken = cycle([[1.0, np.nan, 3.0, 4.0], [4.0, 1.0, 2.0, 3.0]])
    model = Stub(logits=lambda text, names: next(broken))
    ranker = make_listwise(settings(window=4, stride=2), language_of(folder, "order", model))
    found = ranker.rank("q", PASSAGES[:6])
    assert order_of(found) == [0, 3, 2, 1, 4, 5]
    assert dict(found.counts) == {"calls": 2, "unparsed": 1}
    assert np.isnan(ranker.rank("q", PASSAGES[:4]).scores).all()


def test_what_does_not_fit_is_counted_once(folder: Path) -> None:
    language = language_of(folder, "order", Stub(), limit=300)
    ranker = make_listwise(settings(window=4, stride=2), language)
    found = ranker.rank("heat " * 400, PASSAGES[:8])
    assert np.isnan(found.scores).all()
    assert dict(found.counts) == {"too_long": 1}


def test_long_passages_are_cut_and_said(folder: Path) -> None:
    model = Stub(logits=lambda text, names: [float(i) for i in range(len(names))])
    how = settings(window=4, stride=2, passage_tokens=20)
    passages = [*PASSAGES[:4], "heat " * 40, *PASSAGES[4:6]]
    found = make_listwise(how, language_of(folder, "order", model)).rank("q", passages)
    assert found.truncated.tolist() == [False] * 4 + [True] + [False] * 2


def test_one_passage_is_asked_about_nothing(folder: Path) -> None:
    found = make_listwise(settings(), language_of(folder, "order", Stub())).rank("q", ["lift"])
    assert (found.scores.tolist(), dict(found.counts)) == ([-1.0], {})


def test_references_in_brackets_are_no_identifiers(folder: Path) -> None:
    model = Stub(logits=lambda text, names: [0.0] * len(names))
    ranker = make_listwise(settings(), language_of(folder, "order", model))
    ranker.rank("see [3] [C]", ["as [12] says [B]", "a list[int] [x]"])
    assert shown(model.asked[0]) == {"A": "as (12) says (B)", "B": "a list[int] [x]"}
    assert "see (3) [C]" in model.asked[0]


CONVERSATION = r"""
method: multiturn_listwise
system_message: Rank.
prefix_user: "{num} passages for {query}."
prefix_assistant: Give them.
body_user: "[{rank}] {candidate}"
body_assistant: "Got [{rank}]."
suffix_user: "Rank the {num} for {query}."
output_extraction_regex: r"\[(\d+)\]"
"""


def test_a_conversation_is_rank_gpts(folder: Path) -> None:
    model = Stub(["[2] > [1]"])
    how = settings(answer="generated")
    found = make_listwise(how, language_of(folder, CONVERSATION, model)).rank("q", ["x", "y"])
    assert order_of(found) == [1, 0]
    turns = [
        ("system", "Rank."),
        ("user", "2 passages for q."),
        ("assistant", "Give them."),
        ("user", "[1] x"),
        ("assistant", "Got [1]."),
        ("user", "[2] y"),
        ("assistant", "Got [2]."),
        ("user", "Rank the 2 for q."),
    ]
    said = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    assert model.asked[0] == said + "<|im_start|>assistant\n"
    plain = CONVERSATION.replace('body_assistant: "Got [{rank}]."\n', "")
    model = Stub(["[1] > [2]"])
    make_listwise(how, language_of(folder, plain, model)).rank("q", ["x", "y"])
    assert "user\n[1] x[2] yRank the 2 for q.<|im_end|>" in model.asked[0]


def test_passages_that_rank_lrl_calls_so(folder: Path) -> None:
    prompt = r"""
method: singleturn_listwise
body: |
  PASSAGE{rank} = "{candidate}"
suffix: "QUESTION {query} PASSAGES {psg_ids} SORTED"
output_validation_regex: r"^\[PASSAGE\d+(, PASSAGE\d+)*\]$"
output_extraction_regex: r"PASSAGE(\d+)"
"""
    model = Stub(["[PASSAGE2, PASSAGE1]"])
    how = settings(answer="generated")
    found = make_listwise(how, language_of(folder, prompt, model)).rank("q", ["x", "y"])
    assert order_of(found) == [1, 0]
    assert 'PASSAGE2 = "y"\nQUESTION q PASSAGES [PASSAGE1, PASSAGE2] SORTED' in model.asked[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [({"stride": 30}, "stride = 30"), ({"reasoning_tokens": 5}, "reasoning_tokens = 5")],
)
def test_settings_that_cannot_be(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(**given)


def test_a_prompt_that_names_passages_otherwise(folder: Path) -> None:
    prompt = (
        "method: singleturn_listwise\nbody: '{rank}: {candidate}'\nsuffix: '{query}'\n"
        "output_extraction_regex: \\[(\\d+)\\]\n"
    )
    with pytest.raises(SettingsError, match="finds neither 1 nor A"):
        make_listwise(settings(), language_of(folder, prompt, Stub()))
