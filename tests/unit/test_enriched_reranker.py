"""An encoder that embeds a query with its list, beside a plain implementation by the library."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from shardrank.core.errors import InputError, IntegrityError, SettingsError
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import EnrichedSettings
from shardrank.models.cards import read_encoder_card
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.enriched_cards import read_enriched
from shardrank.models.rerankers.enriched import EnrichedReranker, load_enriched
from tests.module_models import module_encoder
from tests.tiny_language import tiny_language
from tests.tiny_models import WORDS, edit_json, tiny_encoder

PASSAGES = [" ".join(WORDS[i : i + n]) for i, n in enumerate([9, 3, 14, 1, 6])]
#: Of words that the tiny tokenisers know, so that a prompt fits into 64 tokens.
SHORT = """
method: enriched_query
prefix: "text:"
body: " {rank} {candidate}"
suffix: " query: {query}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the E²Rank models are saved: without modules.json, with a chat template, and with a
    tokeniser that adds nothing to a text."""
    folder = tiny_language(tmp_path_factory.mktemp("language"))
    edit_json(folder / "tokenizer.json", post_processor=None)
    return folder


def written(folder: Path, **changes: str) -> str:
    """A prompt as E²Rank's, whose end is a token of the tiny model."""
    text = (
        Path(__file__).parents[2] / "pipelines/models/prompts/e2rank.yaml"
    ).read_text()
    for old, new in {"<|endoftext|>": "</s>", **changes}.items():
        text = text.replace(old, new)
    file = folder / f"{abs(hash(text))}.yaml"
    file.write_text(text)
    return str(file)


def made(folder: Path, prompt: str, **given: Any) -> EnrichedReranker:
    settings = EnrichedSettings(model=str(folder), prompt=prompt, batch_tokens=256, **given)
    return load_enriched(settings, "cpu", read_enriched(settings, halve=False))


def plainly(folder: Path, query: str, passages: Sequence[str], listed: int) -> list[float]:
    """cos(E(chat(list prompt)), E(passage </s>)), E the hidden state of the last token."""
    model, tokeniser = (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )

    def embedded(text: str) -> torch.Tensor:
        ids = tokeniser(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            return normalize(model(ids).last_hidden_state[0, -1], dim=0)

    first = "\n".join(f"[{n}] {text}" for n, text in enumerate(passages[:listed], start=1))
    asked = (
        "Given a web search query and some relevant documents, rerank the documents that answer "
        f"the query:\nDocuments:\n{first}\nSearch Query: {query}"
    )
    message = [{"role": "user", "content": asked}]
    chat = tokeniser.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    new = embedded(chat)
    return [float(new @ embedded(f"{text}</s>")) for text in passages]


@pytest.mark.parametrize("listed", [20, 2])
def test_scores_are_the_papers(folder: Path, listed: int) -> None:
    found = made(folder, written(folder), passages=listed).rank("shock wave", PASSAGES)
    expected = plainly(folder, "shock wave", PASSAGES, listed)
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)
    assert found.scores.dtype == np.float32
    assert found.counts == {"calls": 6}
    assert not found.truncated.any()
    assert np.ptp(found.scores) > 0.01


def test_the_list_changes_the_query(folder: Path) -> None:
    reranker = made(folder, written(folder))
    whole, part = (reranker.rank("heat", passages).scores for passages in (PASSAGES, PASSAGES[:3]))
    assert np.abs(whole[:3] - part).max() > 1e-3


def test_an_end_that_the_tokeniser_adds_is_not_added_again(tmp_path: Path) -> None:
    folder = tiny_language(tmp_path)  # <s> … </s>
    prompts = written(folder), written(folder, **{"end: </s>\n": ""})
    own, silent = (made(folder, each).rank("heat", PASSAGES).scores for each in prompts)
    np.testing.assert_array_equal(own, silent)


def test_passages_are_embedded_as_an_index_embeds_them(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert-st")
    reranker = made(folder, prompt(tmp_path, SHORT), pooling="auto")
    encoder = load_encoder(EncoderSettings(model=str(folder), batch_tokens=256), "cpu")
    asked = "text: 1 wing 2 heat transfer query: shock"
    [query] = encoder.encode_queries([asked])  # whose own prompt stands before
    found = reranker.rank("shock", ["wing", "heat transfer"]).scores
    texts = [encoder.card.document_prompt + text for text in ("wing", "heat transfer")]
    vectors = encoder.encode_ids([each.ids for each in encoder.tokeniser.encode(texts)])
    [plain] = load_encoder(
        EncoderSettings(model=str(folder), query_prompt="", batch_tokens=256), "cpu"
    ).encode_queries([asked])
    np.testing.assert_allclose(found, vectors @ plain, atol=1e-5)
    assert np.abs(vectors @ query - found).max() > 1e-4


def prompt(folder: Path, text: str) -> str:
    (folder / "own.yaml").write_text(text)
    return str(folder / "own.yaml")


def test_what_does_not_fit_is_cut_and_told(folder: Path, tmp_path: Path) -> None:
    long = " ".join(WORDS * 3)
    found = made(folder, written(folder), passage_tokens=8, passages=2).rank("heat", [long] * 3)
    assert found.truncated.tolist() == [True, True, False]
    bert = tiny_encoder(tmp_path / "bert", "bert-st")  # 64 tokens
    reranker = made(bert, prompt(tmp_path, SHORT), pooling="auto", passages=1)
    found = reranker.rank("heat", ["lift", long])
    assert found.truncated.tolist() == [False, True]
    assert np.isfinite(found.scores).all()
    found = reranker.rank(long, ["lift", "drag"])
    assert np.isnan(found.scores).all()
    assert found.counts == {"too_long": 1}


def test_a_cut_passage_keeps_its_end(folder: Path) -> None:
    long, kept = (" ".join(WORDS * times) for times in (3, 2))
    room = len(AutoTokenizer.from_pretrained(folder)(kept, add_special_tokens=False)["input_ids"])
    short = made(folder, written(folder), max_tokens=room + 1, passages=1)
    whole, cut = (short.rank("heat", ["wing", text]) for text in (kept, long))
    assert [whole.truncated.tolist(), cut.truncated.tolist()] == [[False, False], [False, True]]
    np.testing.assert_array_equal(cut.scores, whole.scores)


def test_cards_tell_what_decides(folder: Path) -> None:
    base = EnrichedSettings(model=str(folder), prompt=written(folder))
    card = read_enriched(base, halve=False)
    assert (card.family, card.sees, card.alone, card.max_tokens) == (
        "enriched",
        "lists",
        False,
        2048,
    )
    others = [
        base.model_copy(update=update)
        for update in (
            {"prompt": written(folder, web="news")},
            {"passages": 3},
            {"passage_tokens": 9},
            {"pooling": "mean"},
            {"max_tokens": 99},
        )
    ]
    prints = {read_enriched(each, halve=False).fingerprint for each in (base, *others)}
    assert len(prints) == 6
    resized = base.model_copy(update={"batch_tokens": 7, "interpolation": 0.5})
    assert read_enriched(resized, halve=False).fingerprint == card.fingerprint


def test_another_model_than_the_planned_one_is_refused(folder: Path, tmp_path: Path) -> None:
    settings = EnrichedSettings(model=str(folder), prompt=written(folder))
    other = tiny_language(tmp_path, seed=1)
    with pytest.raises(IntegrityError, match="fingerprint"):
        load_enriched(
            settings.model_copy(update={"model": str(other)}), "cpu", read_enriched(settings, False)
        )


def test_what_cannot_be_an_enriched_query_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'a wing', is 3 tokens of this model"):
        read_enriched(
            EnrichedSettings(model=str(folder), prompt=written(folder, **{"</s>": "a wing"})), False
        )
    with pytest.raises(SettingsError, match="method is 'in_context'"):
        read_enriched(EnrichedSettings(model=str(folder), prompt="in-context"), halve=False)
    table = module_encoder(tmp_path / "table", "static")
    with pytest.raises(InputError, match="a table of token vectors: a prompt"):
        read_enriched(
            EnrichedSettings(model=str(table), prompt=prompt(tmp_path, SHORT), pooling="auto"),
            False,
        )


def test_an_encoder_with_a_template_is_still_refused_elsewhere(folder: Path) -> None:
    with pytest.raises(InputError, match="chat template"):
        read_encoder_card(EncoderSettings(model=str(folder)))
