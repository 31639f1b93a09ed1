"""How often a model is asked, and how much it reads, is what the families do, or more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.protocols import ListReranker
from shardrank.core.reranker_settings import (
    AnswerSettings,
    AttentionSettings,
    CrossSettings,
    EnrichedSettings,
    GroupwiseSettings,
    ListwiseSettings,
    PairwiseSettings,
    PointwiseSettings,
    RerankerSettings,
    SetwiseSettings,
)
from shardrank.core.tally import take
from shardrank.models.enriched_cards import read_enriched
from shardrank.models.forward.decoder import load_decoder
from shardrank.models.rerankers.attention import make_attention
from shardrank.models.rerankers.enriched import load_enriched
from shardrank.models.rerankers.groupwise import make_groupwise
from shardrank.models.rerankers.listwise import make_listwise
from shardrank.models.rerankers.pairwise import make_pairwise
from shardrank.models.rerankers.pointwise import make_pointwise
from shardrank.models.rerankers.setwise import make_setwise
from shardrank.orders.calls import (
    END_TOKENS,
    NAME_TOKENS,
    PROMPT_TOKENS,
    Asked,
    Lengths,
    Tokens,
    answer_tokens,
    most_asked,
    most_tokens,
)
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
        assert most.calls == most.prompts == calls
        assert most.passages == sum(len(shown(text)) for text in model.asked)
        assert most.shown == max((len(shown(text)) for text in model.asked), default=1)
    elif kind is SetwiseSettings:
        assert calls <= most.calls
        assert read <= most.passages
    else:
        assert (most.calls, most.passages) == (calls, 2 * n)


ALONE = "method: pointwise\nbody: '{query} {doc_content}'\nanswers: ['y', 'n']\n"
Make = Callable[[Any, Any], ListReranker]
#: Of each family that asks a language model: how it is made, its settings, and its prompt.
FAMILIES: list[tuple[Make, RerankerSettings, str]] = [
    (make_pointwise, PointwiseSettings(model="m"), ALONE),
    (make_listwise, ListwiseSettings(model="m", window=3, stride=2), "order"),
    (make_setwise, SetwiseSettings(model="m", children=2, top=2), "best-of-set"),
    (make_groupwise, GroupwiseSettings(model="m", group=3, passes=1), "expected-grades"),
    (make_pairwise, PairwiseSettings(model="m"), "better-of-two"),
    (make_pairwise, PairwiseSettings(model="m", pairs="cycles", cycles=1), "better-of-two"),
    (make_attention, AttentionSettings(model="m"), "in-context"),
]


def passages(n: int, length: int) -> list[str]:
    """So many tokens of the tiny model each, of which the first differ."""
    drawn = np.random.default_rng(3).integers(0, 26, (n, length))
    return ["".join([chr(65 + i), *(chr(65 + c) for c in row[1:])]) for i, row in enumerate(drawn)]


@pytest.mark.parametrize(("make", "how", "prompt"), FAMILIES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_longer_passages_are_read_as_often_as_is_said(
    folder: Path, make: Make, how: RerankerSettings, prompt: str, n: int
) -> None:
    """The tokens that a real decoder passes through grow with the passages' lengths by how often
    each is read."""
    read, calls = [], set()
    for length in (30, 70):
        model = load_decoder(folder, "fp32", False, "cpu", None)
        reranker = make(how, language_of(folder, prompt, model))
        take()
        found = reranker.rank("why", passages(n, length))
        read.append(take().get("tokens", 0))
        calls.add(found.counts.get("calls", 0))
    most, [counted], grown = most_asked(how, n), calls, (read[1] - read[0]) / 40
    assert counted <= most.calls
    assert grown <= most.passages
    if not isinstance(how, SetwiseSettings) and getattr(how, "pairs", "all") == "all":
        assert (counted, grown) == (most.calls, most.passages)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_an_encoder_reads_its_list_and_each_passage(tmp_path: Path, folder: Path, n: int) -> None:
    prompt = "method: enriched_query\nprefix: 'x'\nbody: '{rank} {candidate}'\nsuffix: '{query}'\n"
    (tmp_path / "prompt.yaml").write_text(prompt)
    how = EnrichedSettings(model=str(folder), prompt=str(tmp_path / "prompt.yaml"), passages=3)
    read = []
    reranker = load_enriched(how, "cpu", read_enriched(how, halve=False))
    for length in (30, 70):
        take()
        found = reranker.rank("why", passages(n, length))
        read.append(take()["tokens"])
    most = most_asked(how, n)
    assert found.counts["calls"] == most.calls == 1 + n
    assert (read[1] - read[0]) / 40 == most.passages + most.alone == min(n, 3) + n


def test_a_pair_is_a_call() -> None:
    assert most_asked(CrossSettings(), 7) == Asked(calls=7, alone=7)
    read = most_tokens(CrossSettings(), 7, Lengths(query=10, passage=100, limit=512))
    assert read == Tokens(read=7 * (10 + 100 + 3), written=0, kept=0)


def test_tokens_of_a_list() -> None:
    how = ListwiseSettings(model="m", answer="generated", reasoning_tokens=100)
    asked = most_asked(how, 100)
    assert (asked.calls, asked.passages, asked.named, asked.shown) == (9, 180, 180, 20)
    assert most_tokens(how, 100, Lengths(query=10, passage=1000, limit=10_000)) == Tokens(
        read=9 * (PROMPT_TOKENS + 10) + 180 * (300 + NAME_TOKENS),
        written=9 * 116 + 180 * NAME_TOKENS,
        kept=PROMPT_TOKENS + 10 + 20 * (300 + 2 * NAME_TOKENS) + 116,
    )


def test_what_does_not_fit_is_neither_read_nor_kept() -> None:
    how, each = AttentionSettings(model="m"), Lengths(query=10, passage=1000, limit=1000)
    fitting = (1000 - PROMPT_TOKENS - 10) // 20 - NAME_TOKENS
    assert most_tokens(how, 20, each) == Tokens(
        read=PROMPT_TOKENS + 10 + 20 * (fitting + NAME_TOKENS) + 2 * (END_TOKENS + 10),
        written=0,
        kept=1000,
    )


settings_of_all = st.one_of(
    st.just(CrossSettings()),
    st.just(PointwiseSettings(model="m")),
    st.builds(
        ListwiseSettings,
        model=st.just("m"),
        window=st.integers(4, 30),
        stride=st.integers(1, 4),
        passes=st.integers(1, 3),
        answer=st.just("generated"),
        reasoning_tokens=st.integers(0, 500),
    ),
    st.builds(SetwiseSettings, model=st.just("m"), children=st.integers(1, 9)),
    st.builds(GroupwiseSettings, model=st.just("m"), group=st.integers(1, 30)),
    st.builds(
        PairwiseSettings,
        model=st.just("m"),
        pairs=st.sampled_from(["all", "cycles"]),
        cycles=st.integers(1, 5),
    ),
    st.builds(AttentionSettings, model=st.just("m"), passage_tokens=st.integers(8, 500)),
    st.builds(EnrichedSettings, model=st.just("m"), passages=st.integers(1, 30)),
)


@given(settings_of_all, st.integers(0, 60), st.integers(1, 400), st.integers(200, 9000))
def test_longer_lists_and_longer_passages_never_cost_less(
    how: RerankerSettings, n: int, passage: int, limit: int
) -> None:
    few, more = most_asked(how, n), most_asked(how, n + 1)
    assert few.calls <= more.calls
    assert few.passages + few.alone <= more.passages + more.alone
    assert few.shown <= more.shown <= max(1, n + 1)
    tokens, longer = (most_tokens(how, n, Lengths(16, p, limit)) for p in (passage, 2 * passage))
    assert tokens.read <= longer.read
    assert tokens.kept == longer.kept <= limit
    assert (
        (tokens.written > 0)
        == (few.answers > 0)
        == (answer_tokens(how, max(n, 1)) > 0 and few.calls > 0)
    )
    assert most_tokens(how, 0, Lengths(16, passage, limit)) == Tokens(0, 0, 0)
