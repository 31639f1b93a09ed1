"""Pointwise language models, beside the library and beside the papers' formulas."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoTokenizer

from shardrank.core.errors import IntegrityError, SettingsError
from shardrank.core.protocols import ListReranker
from shardrank.core.reranker_settings import PointwiseSettings
from shardrank.models.folder.layout import read_layout
from shardrank.models.rerankers.beside import Beside
from shardrank.models.rerankers.language import Language
from shardrank.models.rerankers.registry import load_reranker, reranker_family
from shardrank.models.text.chat import Chat, Message
from shardrank.models.text.prompts import fill, parse_prompt, read_prompt
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser
from tests.real_weights import real_weights
from tests.tiny_language import Plain, tiny_language
from tests.tiny_models import WORDS
from tests.unit.test_logit_score import FLAT, PROMPT, STRUCTURED, saved

QUERY = "heat flow"
PASSAGES = [" ".join(WORDS[start : start + n]) for start, n in enumerate([5, 1, 12, 3, 30])]
BODY = 'body: "{query} | {doc_content} ?"\n'
ODDS = f'method: pointwise\n{BODY}answers: ["y", "n"]\n'
ONE = f'method: pointwise\n{BODY}answers: ["y"]\n'
GRADES = f'method: pointwise\n{BODY}scale: ["0", "1", "2", "3"]\n'
LIKELIHOOD = 'method: query_likelihood\nbody: "{doc_content} ?"\nassistant: "{query}"\n'


def reranker(folder: Path, prompt: Path | str | None, **more: object) -> ListReranker:
    told = {"model": str(folder), "prompt": prompt and str(prompt), **more}
    settings = PointwiseSettings.model_validate(told)
    family = reranker_family(settings)
    found: ListReranker = load_reranker(settings, "cpu", family.read(settings, Beside()))
    return found


def written(folder: Path, prompt: str) -> Path:
    path = folder / "prompt.yaml"
    path.write_text(prompt)
    return path


class Reference:
    """The plain model, and what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.plain = Plain(folder)
        self.tokeniser = load_tokeniser(read_layout(folder, plain=True))
        self.chat = Chat(folder, self.tokeniser)

    def ids(self, passage: str) -> np.ndarray:
        """Of the question about a passage."""
        told = [Message("user", f"{QUERY} | {passage} ?")]
        return self.chat.ids_of(self.chat.text(told, ""))

    def logits(self, passage: str, answers: Sequence[str]) -> np.ndarray:
        """float64[a], behind that question."""
        tokens = np.array([self.tokeniser.encode([each])[0].ids[0] for each in answers])
        return self.plain.last_logits([self.ids(passage)], tokens)[0].astype(np.float64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language(tmp_path_factory.mktemp("language"))


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return Reference(folder)


def test_log_odds_of_two_answers(folder: Path, reference: Reference, tmp_path: Path) -> None:
    found = reranker(folder, written(tmp_path, ODDS)).rank(QUERY, PASSAGES)
    expected = [np.subtract(*reference.logits(each, "yn")) for each in PASSAGES]
    np.testing.assert_allclose(found.scores, expected, atol=1e-4)
    assert found.scores.std() > 1e-2
    assert found.counts == {"calls": len(PASSAGES)}
    assert not found.truncated.any()


def test_the_logit_of_one_answer(folder: Path, reference: Reference, tmp_path: Path) -> None:
    found = reranker(folder, written(tmp_path, ONE)).rank(QUERY, PASSAGES)
    expected = [reference.logits(each, "y")[0] for each in PASSAGES]
    np.testing.assert_allclose(found.scores, expected, atol=1e-4)


def test_the_expected_grade(folder: Path, reference: Reference, tmp_path: Path) -> None:
    found = reranker(folder, written(tmp_path, GRADES)).rank(QUERY, PASSAGES)
    for score, passage in zip(found.scores, PASSAGES, strict=True):
        weights = np.exp(reference.logits(passage, "0123"))
        assert score == pytest.approx((weights * range(4)).sum() / weights.sum(), abs=1e-4)


def test_the_likelihood_of_the_query(folder: Path, reference: Reference, tmp_path: Path) -> None:
    found = reranker(folder, written(tmp_path, LIKELIHOOD)).rank(QUERY, PASSAGES)
    for score, passage in zip(found.scores, PASSAGES, strict=True):
        before = reference.chat.text([Message("user", f"{passage} ?")], "")
        begin = len(reference.chat.ids_of(before))
        whole = reference.chat.ids_of(before + QUERY)
        expected = reference.plain.logprobs([whole], [begin])[0].mean()
        assert score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("family", "template", "more"),
    [("qwen3", STRUCTURED, {"add_generation_prompt": True}), ("llama", FLAT, {})],
)
def test_folders_that_say_it_themselves(
    tmp_path: Path, family: str, template: str, more: dict[str, bool]
) -> None:
    folder = saved(tmp_path, family, template, {"web": PROMPT}, **more)
    library = CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERY, passage) for passage in PASSAGES]
    expected = library.predict(pairs, activation_fn=torch.nn.Identity())
    found = reranker(folder, None).rank(QUERY, PASSAGES)
    np.testing.assert_allclose(found.scores, expected, atol=1e-4)
    assert found.scores.std() > 1e-3
    other = reranker(folder, None, instruction="Judge the heat.").rank(QUERY, PASSAGES)
    expected = library.predict(pairs, activation_fn=torch.nn.Identity(), prompt="Judge the heat.")
    np.testing.assert_allclose(other.scores, expected, atol=1e-4)


def test_a_passage_is_scored_alike_in_any_list(folder: Path, tmp_path: Path) -> None:
    asked = reranker(folder, written(tmp_path, ODDS))
    whole = asked.rank(QUERY, PASSAGES).scores
    alone = [asked.rank(QUERY, [each]).scores[0] for each in PASSAGES]
    np.testing.assert_allclose(whole, alone, atol=1e-5)
    assert asked.rank(QUERY, PASSAGES).scores.tobytes() == whole.tobytes()


def test_what_a_model_never_says_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'relevant' is \d tokens of this model"):
        reranker(folder, written(tmp_path, ODDS.replace('"y"', '"relevant"')))
    with pytest.raises(SettingsError, match="two are one token"):
        reranker(folder, written(tmp_path, ODDS.replace('"n"', '"y"')))
    with pytest.raises(SettingsError, match="has 0 answers"):
        reranker(folder, written(tmp_path, f"method: pointwise\n{BODY}"))
    with pytest.raises(SettingsError, match=r"no slot \{instruction\}"):
        reranker(folder, written(tmp_path, ODDS), instruction="x")
    with pytest.raises(SettingsError, match="holds no integer"):
        reranker(folder, written(tmp_path, GRADES.replace('"3"', '"x"')))


def test_an_answer_that_the_vocabulary_lacks_is_refused(folder: Path, tmp_path: Path) -> None:
    """The unknown token would stand for it, and for any other."""
    words = Tokenizer(WordLevel({"<unk>": 0, "Yes": 1, "No": 2}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    tokeniser = FastTokeniser(words)
    prompt = parse_prompt(ODDS, frozenset({"pointwise"}))
    chat = Chat(folder, tokeniser)
    language = Language(Plain(folder), tokeniser, chat, prompt, 400, frozenset())
    assert language.tokens(["Yes", "No"]).tolist() == [1, 2]
    with pytest.raises(SettingsError, match="'yes' is the token '<unk>'"):
        language.tokens(["yes", "no"])


def test_another_prompt_or_model_is_another_card(folder: Path, tmp_path: Path) -> None:
    def card(**more: object) -> object:
        told = {"model": str(folder), "prompt": str(tmp_path / "prompt.yaml"), **more}
        settings = PointwiseSettings.model_validate(told)
        return reranker_family(settings).read(settings, Beside()).fingerprint

    written(tmp_path, ODDS)
    first = card()
    assert first == card(depth=9, interpolation=0.5, batch_tokens=77)
    others = [card(max_tokens=99), card(dtype="bf16")]
    written(tmp_path, ONE)
    assert len({first, card(), *others}) == 4


def test_a_worker_with_another_model_does_nothing(folder: Path, tmp_path: Path) -> None:
    told = {"model": str(folder), "prompt": str(written(tmp_path, ODDS))}
    settings = PointwiseSettings.model_validate(told)
    card = reranker_family(settings).read(settings, Beside())
    other = settings.model_copy(update={"model": str(tiny_language(tmp_path / "b", seed=1))})
    with pytest.raises(IntegrityError, match="do not match"):
        load_reranker(other, "cpu", card)


def test_a_real_model_beside_the_library() -> None:
    folder = real_weights("smollm2")
    found = reranker(folder, "relevance", dtype="fp32").rank(QUERY, PASSAGES[:3])
    library = AutoTokenizer.from_pretrained(folder)
    prompt = parse_prompt(read_prompt("relevance"), frozenset({"pointwise"}))
    answers = [library.convert_tokens_to_ids(each) for each in prompt.answers]
    model = Plain(folder)
    for score, passage in zip(found.scores, PASSAGES, strict=False):
        about = {"query": QUERY, "doc_content": passage, "instruction": prompt.instruction}
        told = [
            {"role": "system", "content": prompt.system_message},
            {"role": "user", "content": fill(prompt.body, about)},
        ]
        text = library.apply_chat_template(told, tokenize=False, add_generation_prompt=True)
        ids = np.array(library(text, add_special_tokens=False)["input_ids"], np.int32)
        yes, no = model.last_logits([ids], np.array(answers))[0]
        assert score == pytest.approx(yes - no, abs=1e-3)
