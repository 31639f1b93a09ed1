"""In-context reranking by attention, beside a plain implementation of the paper's formula."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from shardrank.core.errors import InputError
from shardrank.core.protocols import ListReranker
from shardrank.core.reranker_settings import AttentionSettings
from shardrank.models.folder.layout import read_layout
from shardrank.models.rerankers.attention import calibrated, make_attention
from shardrank.models.rerankers.language import Language
from shardrank.models.rerankers.listed import AskedList
from shardrank.models.rerankers.spans import token_ranges
from shardrank.models.text.chat import Chat
from shardrank.models.text.prompts import parse_prompt, read_prompt
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser
from tests.tiny_language import TEMPLATE, Plain, tiny_language
from tests.tiny_models import WORDS, byte_tokeniser, tiny_tokeniser

#: What the folder's template writes around what a user says.
BEGINS, ENDS = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
PASSAGES = [" ".join(WORDS[i : i + n]) for i, n in enumerate([9, 3, 14, 1, 6])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language(tmp_path_factory.mktemp("language"))


def made(folder: Path, limit: int = 2000, **given: object) -> ListReranker:
    tokeniser = load_tokeniser(read_layout(folder, plain=True))
    language = Language(
        model=Plain(folder),
        tokeniser=tokeniser,
        chat=Chat(folder, tokeniser),
        prompt=parse_prompt(read_prompt("in-context"), frozenset({"in_context"})),
        limit=limit,
        ends=frozenset(),
    )
    return make_attention(AttentionSettings(model=str(folder), **given), language)


def plainly(folder: Path, query: str, passages: Sequence[str]) -> list[float]:
    """s = Σ over a passage's tokens of (attention with the query - with N/A), of all heads and
    layers and on average over the query's part, without what lies two deviations below."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    tokeniser = AutoTokenizer.from_pretrained(folder)
    named = [f"[{n}] {text}" for n, text in enumerate(passages, start=1)]
    before = BEGINS + f"Here are {len(passages)} passages:\n\n"
    received = []
    for asked in (query, "N/A"):
        text = before + "\n\n".join(named)
        query_begins = len(text) + 2
        text += f"\n\nFind in these passages what meets the following query.\n\nQuery: {asked}"
        encoded = tokeniser(text + ENDS, add_special_tokens=False, return_offsets_mapping=True)
        places = encoded["offset_mapping"]
        first = next(i for i, (_, end) in enumerate(places) if end > query_begins)
        with torch.inference_mode():
            layers = model(torch.tensor([encoded["input_ids"]]), output_attentions=True).attentions
        matrix = torch.stack([layer[0].sum(0) for layer in layers]).sum(0)
        given = matrix[first:].mean(0)
        received.append([given[held] for held in of_each(places, len(before), named)])
    scores = []
    for with_query, without in zip(*received, strict=True):
        tokens = with_query - without
        low = tokens.mean() - 2 * tokens.std()
        scores.append(float(tokens[tokens > low].sum()))
    return scores


def of_each(
    places: Sequence[tuple[int, int]], at: int, pieces: Sequence[str], gap: int = 2
) -> list[list[int]]:
    """The tokens that hold a character of each piece, white space at its ends apart; `gap`
    characters stand between two pieces."""
    found = []
    for piece in pieces:
        first = at + len(piece) - len(piece.lstrip())
        own = set(range(first, first + len(piece.strip())))
        found.append([i for i, (a, b) in enumerate(places) if own & set(range(a, b))])
        at += len(piece) + gap
    return found


def test_scores_are_the_papers(folder: Path) -> None:
    found = made(folder, best_last=False).rank("shock wave", PASSAGES)
    np.testing.assert_allclose(found.scores, plainly(folder, "shock wave", PASSAGES), atol=1e-4)
    assert found.counts == {"calls": 2}
    assert not found.truncated.any()
    assert np.ptp(found.scores) > 0.01


def test_the_best_so_far_is_next_to_the_query(folder: Path) -> None:
    found = made(folder).rank("shock wave", PASSAGES)
    expected = plainly(folder, "shock wave", PASSAGES[::-1])[::-1]
    np.testing.assert_allclose(found.scores, expected, atol=1e-4)


def test_a_query_without_content_finds_nothing(folder: Path) -> None:
    assert not made(folder).rank("N/A", PASSAGES).scores.any()


def test_passages_are_cut_alike_in_both_prompts(folder: Path) -> None:
    passages = [PASSAGES[1], " ".join(WORDS * 3), PASSAGES[0]]
    found = made(folder, limit=230).rank("a", passages)  # shorter than N/A
    assert found.truncated.tolist() == [False, True, False]
    assert np.isfinite(found.scores).all()
    short = made(folder, passage_tokens=8).rank("a", passages)
    assert short.truncated.tolist() == [False, True, True]


def test_a_query_that_leaves_no_room_has_no_scores(folder: Path) -> None:
    for passages in (PASSAGES, ["", ""]):
        found = made(folder, limit=80).rank(" ".join(WORDS), passages)
        assert np.isnan(found.scores).all()
        assert found.counts == {"too_long": 1}


def test_one_passage_without_text_is_scored_by_its_name(folder: Path) -> None:
    [score] = made(folder).rank("shock wave", [""]).scores
    assert score == pytest.approx(plainly(folder, "shock wave", [""])[0], abs=1e-4)


def test_what_lies_far_below_is_left_out() -> None:
    given = np.array([1, 1.1, 0.9, 1, 1, 1, 1, 1, 1, -9], np.float32)
    none = np.zeros(10, np.float32)
    assert calibrated(given, none) == pytest.approx(9.0)
    assert calibrated(none + 3, none) == pytest.approx(30.0)
    assert calibrated(given[:1], none[:1]) == 1.0
    assert calibrated(none[:0], none[:0]) == 0.0


def test_a_template_that_changes_what_is_said_is_refused(tmp_path: Path) -> None:
    folder = tiny_language(tmp_path, template=TEMPLATE.replace("m.content", "m.content | upper"))
    with pytest.raises(InputError, match="changes what a user says"):
        made(folder).rank("heat", PASSAGES)


def test_a_template_may_trim_and_a_base_model_has_none(tmp_path: Path) -> None:
    trims = tiny_language(
        tmp_path / "a", template=TEMPLATE.replace("m.content", "m.content | trim")
    )
    found = made(trims).rank("shock wave", PASSAGES)
    assert np.isfinite(found.scores).all()
    base = tiny_language(tmp_path / "b", template=None)
    assert np.isfinite(made(base).rank("shock wave", PASSAGES).scores).all()


def words_apart() -> FastTokeniser:
    tokeniser = byte_tokeniser()
    tokeniser.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    return FastTokeniser(tokeniser)


TOKENISERS = {
    "bytes": FastTokeniser(byte_tokeniser()),
    "words apart": words_apart(),
    "word pieces": FastTokeniser(tiny_tokeniser()),
}
TEXTS = st.text(st.sampled_from("ab é京 .\n[1]"), max_size=9)


@pytest.mark.parametrize("name", TOKENISERS)
@settings(deadline=None, max_examples=60)
@given(told=st.lists(TEXTS, min_size=2, max_size=6), front=TEXTS, back=TEXTS)
def test_tokens_of_each_piece(name: str, told: list[str], front: str, back: str) -> None:
    told = ["Q" + told[0], *told[1:]]  # so that what is said is found once
    text = f"{front}{''.join(told)}{back}"
    tokeniser = TOKENISERS[name]
    spans = tokeniser.encode([text])[0]
    ids = np.concatenate([[9], spans.ids]).astype(np.int32)  # one that no text spells
    found = token_ranges(AskedList(ids, text, np.zeros(0, np.bool_), told), tokeniser)
    places = list(zip(spans.places().starts, spans.places().ends, strict=True))
    expected = of_each(places, len(front), told, gap=0)
    assert [[i - 1 for i in held] for held in found] == expected
