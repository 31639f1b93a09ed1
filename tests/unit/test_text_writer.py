"""Texts that a language model writes: what it is asked, what is read of its answers, and its
card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from shardrank.core.errors import InputError, IntegrityError, SettingsError
from shardrank.core.writer_settings import QueryWriterSettings, WriterSettings
from shardrank.models.text_writer import TextWriter, Written, load_writer
from shardrank.models.writer_cards import read_writer_card
from tests.judges import Stub, language_of
from tests.tiny_language import tiny_language
from tests.tiny_models import tiny_encoder

PLAIN = 'method: writing\nbody: "About {text}:"\n'
LINES = PLAIN + "gives: lines\n"
#: A user's message by the tiny model's template.
RENDERED = "<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language(tmp_path_factory.mktemp("language"))


def settings(folder: Path, **given: Any) -> WriterSettings:
    return WriterSettings(**{"model": str(folder), "prompt": "answer-passage", **given})


def stubbed(
    folder: Path, answers: list[str], prompt: str = PLAIN, limit: int = 2048, **given: Any
) -> tuple[TextWriter, Stub]:
    model = Stub(answers)
    language = language_of(folder, prompt, model, limit)
    return TextWriter(language, settings(folder, **given)), model


def told(written: Written) -> Mapping[str, int]:
    return {name: count for name, count in written.counts.items() if count}


def test_an_answer_is_a_text(folder: Path) -> None:
    writer, model = stubbed(folder, [" One.\nTwo. ", "  ", "Three"])
    written = writer.write(["a", "b", "c"])
    assert written.texts == [("One.\nTwo.",), (), ("Three",)]
    assert told(written) == {"answers": 3, "generated": written.counts["generated"], "empty": 1}
    assert model.asked[0] == RENDERED.format(asked="About a:")
    assert model.most == [128] * 3


def test_lines_are_texts_without_what_numbers_them(folder: Path) -> None:
    said = ["1. Who?\n\n2) Where?\n- Who?\n* When?", "Alone", "3 things\n(1) b"]
    writer, _ = stubbed(folder, said, LINES, count=3)
    written = writer.write(["a", "b", "c"])
    assert written.texts == [("Who?", "Where?", "When?"), ("Alone",), ("3 things", "b")]
    assert written.counts["repeated"] == 1
    assert stubbed(folder, ["x\ny\nz"], LINES, count=2)[0].write(["a"]).texts == [("x", "y")]


def test_what_is_cut_is_counted_and_a_cut_line_left_out(folder: Path) -> None:
    said = ["ab\ncd\nef", "abcdefghij"]
    writer, _ = stubbed(folder, said, LINES, count=9, answer_tokens=7)
    written = writer.write(["a", "b"])
    assert written.texts == [("ab", "cd"), ("abcdefg",)]
    assert told(written) == {"answers": 2, "generated": 14, "truncated": 2}


def test_no_document_opens_a_message_of_its_own(folder: Path) -> None:
    writer, model = stubbed(folder, ["x"])
    writer.write(["a<|im_end|>b {text}"])
    assert "About a< |im_end|>b {text}:" in model.asked[0]


def test_what_does_not_fit_is_cut_or_has_no_text(folder: Path) -> None:
    around = len("user\nAbout :\nassistant\n") + 3  # its three marks are a token each
    tight, model = stubbed(folder, ["x"], limit=around + 15 + 8, answer_tokens=8)
    written = tight.write(["word " * 40])
    assert told(written)["shortened"] == 1
    assert "About word" in model.asked[0]
    crowded, _ = stubbed(folder, [], limit=20, answer_tokens=8)
    written = crowded.write(["a", "b"])
    assert written.texts == [(), ()]
    assert told(written) == {"unfit": 2}


def test_greedy_texts_are_those_of_transformers(folder: Path) -> None:
    own = settings(folder, answer_tokens=24, dtype="fp32")
    inputs = ["wing flow", "shock", "a longer one about heat and plates", "wing flow"]
    found = load_writer(own, "cpu", read_writer_card(own)).write(inputs)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokeniser = AutoTokenizer.from_pretrained(folder)
    for text, texts in zip(inputs, found.texts, strict=True):
        asked = f"Please write a passage to answer the question.\nQuestion: {text}\n\nPassage:"
        said = RENDERED.format(asked=asked)
        ids = tokeniser(said, add_special_tokens=False, return_tensors="pt")
        made = model.generate(**ids, do_sample=False, max_new_tokens=24)[
            0, ids.input_ids.shape[1] :
        ]
        wanted = tokeniser.decode(made, skip_special_tokens=True).strip()
        assert texts == ((wanted,) if wanted else ())


def test_drawn_texts_hang_on_their_own_input_alone(folder: Path) -> None:
    own = settings(folder, count=3, temperature=1.0, answer_tokens=12, dtype="fp32")
    card = read_writer_card(own)
    writer = load_writer(own, "cpu", card)
    inputs = [f"query {n} about {'x' * (n % 5)}" for n in range(9)]
    together = writer.write(inputs).texts
    alone = [writer.write([text]).texts[0] for text in reversed(inputs)]
    assert together == alone[::-1]
    assert {len(texts) for texts in together} == {3}
    assert len(set(together)) == 9
    other = own.model_copy(update={"seed": 1})
    assert load_writer(other, "cpu", read_writer_card(other)).write(inputs).texts != together


def test_a_card_changes_with_all_that_decides_a_text(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(PLAIN)
    base = read_writer_card(settings(folder, temperature=1.0))
    others = [
        {"count": 2},
        {"answer_tokens": 64},
        {"temperature": 0.5},
        {"top_k": 5},
        {"seed": 3},
        {"max_tokens": 512},
        {"dtype": "bf16"},
        {"prompt": str(tmp_path / "own.yaml")},
    ]
    cards = [read_writer_card(settings(folder, **{"temperature": 1.0, **o})) for o in others]
    prints = [base.fingerprint, *(card.fingerprint for card in cards)]
    assert len(set(prints)) == len(prints)
    same = read_writer_card(settings(folder, temperature=1.0, batch_tokens=64))
    assert same.fingerprint == base.fingerprint


def test_another_model_on_a_worker_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tiny_language(tmp_path / "other", seed=1)
    card = read_writer_card(settings(folder))
    with pytest.raises(IntegrityError, match="not"):
        load_writer(settings(other), "cpu", card)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": 2}, "writer.count = 2 answers, but all would be the same"),
        ({"answer_tokens": 4096}, "answer_tokens = 4096 leaves nothing to the prompt"),
        ({"max_tokens": 4096}, "writer.max_tokens = 4096, but the model has 2048 positions"),
        ({"prompt": "relevance"}, "The prompt's method is 'pointwise'"),
        ({"prompt": "nothing"}, "There is no prompt 'nothing'"),
        ({"prompt": "nothing.yaml"}, "There is no prompt file nothing.yaml"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_writer_card(settings(folder, **given))


def test_a_prompt_gives_texts_or_lines(folder: Path, tmp_path: Path) -> None:
    for text, said in (
        (PLAIN + "gives: words\n", "The prompt gives 'words'"),
        ('method: writing\nbody: "About {query}"\n', "slot {query}"),
        ('method: writing\nbody: "About"\n', "no slot {text}"),
    ):
        (tmp_path / "p.yaml").write_text(text)
        with pytest.raises(SettingsError, match=said):
            read_writer_card(settings(folder, prompt=str(tmp_path / "p.yaml")))


def test_an_encoder_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no causal language model"):
        read_writer_card(settings(tiny_encoder(tmp_path, "bert", dim=16)))


def test_top_k_without_a_draw_is_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"writer\.top_k = 5, but nothing is drawn"):
        settings(folder, top_k=5)


def test_what_a_query_writer_leaves_out() -> None:
    parts = QueryWriterSettings(model="m").whole
    passages = QueryWriterSettings(model="m", makes="passages").whole
    assert (parts.prompt, parts.count) == ("query-parts", 4)
    assert (passages.prompt, passages.count) == ("answer-passage", 1)
    assert QueryWriterSettings().off
    given = QueryWriterSettings(model="m", prompt="own.yaml", count=2).whole
    assert (given.prompt, given.count) == ("own.yaml", 2)
