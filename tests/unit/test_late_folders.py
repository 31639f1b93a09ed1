"""Cards of models of token vectors, and what a folder of one may say and is refused by name."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from shardrank.core.cards import LateCard
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.late_settings import LateSettings
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.papers import from_json, to_json
from shardrank.models.cards import read_encoder_card
from shardrank.models.complete import check_late
from shardrank.models.folder.late_folder import read_late_folder
from shardrank.models.late_cards import read_late_card
from shardrank.models.notes import column_notes, late_notes
from tests.late_models import DIM, late_model
from tests.tiny_models import edit_json, write_json

Change = Callable[[Path], Any]
ST, CALLED = "config_sentence_transformers.json", "sentence_bert_config.json"
DENSE, MASK = "1_Dense/config.json", "2_MultiVectorMask/config.json"
NORM, POOL = "3_Normalize/config.json", "3_HierarchicalTokenPooling/config.json"
META, WEIGHTS, TOKENS = "artifact.metadata", "model.safetensors", "tokenizer_config.json"
NORMED = "embeddings.LayerNorm.weight"
TANH = "torch.nn.modules.activation.Tanh"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family, made once."""
    root = tmp_path_factory.mktemp("late")
    return cache(lambda family: late_model(root / family, family))


def settings(folder: Path, **more: object) -> LateSettings:
    return LateSettings.model_validate({"model": str(folder), **more})


def plan(folder: Path, **more: object) -> LateCard:
    """What a driver does before any stage."""
    check_late(settings(folder, **more))
    return read_late_card(settings(folder, **more))


def edited(name: str, **values: Any) -> Change:
    return lambda folder: edit_json(folder / name, **values)


def unsaid(name: str, *keys: str) -> Change:
    def act(folder: Path) -> None:
        found = json.loads((folder / name).read_text())
        write_json(folder / name, {n: v for n, v in found.items() if n not in keys})

    return act


def weighted(change: Callable[[dict[str, torch.Tensor]], Any], below: str = "") -> Change:
    def act(folder: Path) -> None:
        weights = load_file(folder / below / WEIGHTS)
        change(weights)
        save_file(weights, folder / below / WEIGHTS, {"format": "pt"})

    return act


def modules(change: Callable[[list[dict[str, Any]]], Any]) -> Change:
    def act(folder: Path) -> None:
        entries = json.loads((folder / "modules.json").read_text())
        change(entries)
        write_json(folder / "modules.json", entries)

    return act


def typed(number: int, reference: str) -> Change:
    return modules(lambda entries: entries[number].update(type=reference))


EXPANSION = {"strategy": "fixed", "attend": False, "length": 16}
REFUSED: list[tuple[str, str, Change, str]] = [
    ("a bi-encoder", "st-bert", edited(ST, model_type="SentenceTransformer"), "is a Sentence"),
    ("no kind of model", "st-bert", lambda f: (f / ST).unlink(), "is a SentenceTransformer"),
    ("a cosine", "st-bert", edited(ST, similarity_fn_name="cosine"), "similarity_fn_name"),
    ("an unknown key", "st-bert", edited(ST, shiny=1), "shiny = 1"),
    ("an unknown key of PyLate's", "pylate-bert", edited(ST, shiny=1), "shiny = 1"),
    ("a default prompt of PyLate's", "pylate-bert", edited(ST, default_prompt_name="x"), '"x"'),
    ("a length that is none", "pylate-bert", edited(ST, query_length="32"), "query_length"),
    ("a flag that is none", "pylate-bert", edited(ST, do_query_expansion=3), "do_query_expansion"),
    ("words that are none", "pylate-bert", edited(ST, skiplist_words=[1]), "skiplist_words"),
    ("a mark that is no token", "pylate-bert", edited(ST, query_prefix="[X] "), "no token"),
    ("a mark that is no text", "pylate-bert", edited(ST, document_prefix=7), "document_prefix"),
    ("a module of PyLate's own", "pylate-bert", typed(1, "pylate.models.Other"), "models.Other"),
    (
        "an unknown strategy",
        "st-bert",
        edited(CALLED, query_expansion={**EXPANSION, "strategy": "more"}),
        "'more'",
    ),
    (
        "an unknown key of filling up",
        "st-bert",
        edited(CALLED, query_expansion={**EXPANSION, "shiny": 1}),
        "shiny = 1",
    ),
    (
        "no length to fill up to",
        "st-bert",
        edited(CALLED, query_expansion={"strategy": "fixed"}),
        "query_expansion",
    ),
    (
        "a token to fill up with that is none",
        "st-bert",
        edited(CALLED, query_expansion={**EXPANSION, "token": "[X]"}),
        "'[X]'",
    ),
    ("filling up on the left", "st-bert", edited(TOKENS, padding_side="left"), "on the left"),
    ("no mask module", "st-bert", modules(lambda e: e.pop(2)), "no MultiVectorMask"),
    ("two mask modules", "st-bert", modules(lambda e: e.append(e[2])), "do not fit together"),
    ("no transformer", "st-bert", modules(lambda e: e.pop(0)), "do not fit together"),
    ("a pooling that is not last", "st-pooled", modules(lambda e: e.append(e[1])), "do not fit"),
    ("a pooling of texts", "st-bert", typed(2, "sentence_transformers.models.Pooling"), "Pooling"),
    ("an author's module", "st-bert", typed(2, "mine.Mask"), "mine.Mask"),
    ("an unknown key of the mask", "st-bert", edited(MASK, shiny=1), "shiny = 1"),
    ("kept ids", "st-bert", edited(MASK, keep_only_token_ids=[3]), "keep_only_token_ids"),
    ("an unknown task", "st-bert", edited(MASK, skiplist_tasks=["corpus"]), "corpus"),
    ("words that are no list", "st-bert", edited(MASK, skiplist_words=".,"), "skiplist_words"),
    ("a norm of texts", "st-bert", unsaid(NORM, "module_input_name"), "does not say module_input"),
    (
        "a norm of something else",
        "st-bert",
        edited(NORM, module_input_name="sentence_embedding"),
        "module_input_name",
    ),
    (
        "a map of texts",
        "st-bert",
        edited(DENSE, module_input_name="sentence_embedding"),
        "module_input_name",
    ),
    ("an unknown activation", "st-bert", edited(DENSE, activation_function="x.Y"), "'x.Y'"),
    ("a map of another width", "st-bert", edited(DENSE, in_features=9), "1_Dense"),
    ("queries pooled", "st-pooled", edited(POOL, tasks=["query"]), "tasks = document"),
    ("a factor below one", "st-pooled", edited(POOL, pool_factor=0.5), "pool_factor"),
    ("a map's bias is missing", "st-bert", edited(DENSE, bias=True), "asks for"),
    ("no map's weights", "st-bert", lambda f: (f / "1_Dense" / WEIGHTS).unlink(), "1_Dense"),
    ("a missing weight", "st-bert", weighted(lambda w: w.pop(NORMED)), "lacks"),
    (
        "a weight too many",
        "st-bert",
        weighted(lambda w: w.update(gate=torch.ones(2))),
        "no use for",
    ),
    ("no map in a checkpoint", "colbert", weighted(lambda w: w.pop("linear.weight")), "without"),
    ("a distance of ColBERT's", "colbert", edited(META, similarity="l2"), 'similarity = "l2"'),
    ("an unknown key of ColBERT's", "colbert", edited(META, shiny=1), "shiny = 1"),
    ("another mark of ColBERT's", "colbert", edited(META, query_token_id="[Z]"), "'[Z]'"),
    (
        "a plain transformer",
        "colbert",
        edited("config.json", architectures=["BertModel"]),
        "random weights",
    ),
    (
        "a checkpoint of another family",
        "colbert",
        edited("config.json", model_type="roberta"),
        "roberta",
    ),
    ("a family that is not run", "st-bert", edited("config.json", model_type="fnet"), "fnet"),
    (
        "DeBERTa that does not see what fills up",
        "st-mpnet",
        edited("config.json", model_type="deberta-v2"),
        "DeBERTa",
    ),
]


@pytest.mark.parametrize(
    ("family", "change", "named"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_is_not_understood_is_refused(
    tmp_path: Path, made: Callable[[str], Path], family: str, change: Change, named: str
) -> None:
    folder = copytree(made(family), tmp_path / "model")
    plan(folder)
    change(folder)
    with pytest.raises(InputError, match=named.replace("[", r"\[")):
        plan(folder)


SAME: list[tuple[str, str, Change]] = [
    ("where it comes from", "st-bert", edited(ST, __version__={"pytorch": "9"})),
    ("a score over the query's tokens", "st-bert", edited(ST, similarity_fn_name="meanmaxsim")),
    ("PyLate's name of the score", "pylate-bert", edited(ST, similarity_fn_name="maxsim")),
    ("a prompt that repeats the mark", "pylate-bert", edited(ST, prompts={"query": "[Q] "})),
    ("how it was trained", "colbert", edited(META, lr=1.0, nway=2, gpus=8)),
    ("what is so anyway", "colbert", unsaid(META, "query_token_id", "mask_punctuation")),
    ("punctuation is PyLate's", "pylate-bert", unsaid(ST, "skiplist_words")),
]


@pytest.mark.parametrize(
    ("family", "change"), [row[1:] for row in SAME], ids=[row[0] for row in SAME]
)
def test_what_changes_nothing_is_read(
    tmp_path: Path, made: Callable[[str], Path], family: str, change: Change
) -> None:
    folder = copytree(made(family), tmp_path / "model")
    before = plan(folder)
    change(folder)
    assert plan(folder).fingerprint == before.fingerprint


OTHER: list[tuple[str, str, Change]] = [
    ("a prompt", "st-bert", edited(ST, prompts={"query": "[Q] ", "document": "text: "})),
    ("a mark", "pylate-bert", edited(ST, query_prefix="[D] ")),
    ("a length", "pylate-bert", edited(ST, document_length=20)),
    ("attention", "pylate-bert", edited(ST, attend_to_expansion_tokens=True)),
    ("nothing filled up", "pylate-bert", edited(ST, do_query_expansion=False)),
    ("words", "pylate-bert", edited(ST, skiplist_words=["wing"])),
    ("tasks", "st-pooled", edited(MASK, skiplist_tasks="query")),
    ("an activation", "st-bert", edited(DENSE, activation_function=TANH)),
    ("a factor", "st-pooled", edited(POOL, pool_factor=3)),
    ("a map's weights", "st-bert", weighted(lambda w: w["linear.weight"].mul_(2), "1_Dense")),
    ("weights", "colbert", weighted(lambda w: w["linear.weight"].mul_(2))),
]


@pytest.mark.parametrize(
    ("family", "change"), [row[1:] for row in OTHER], ids=[row[0] for row in OTHER]
)
def test_what_decides_is_in_the_fingerprint(
    tmp_path: Path, made: Callable[[str], Path], family: str, change: Change
) -> None:
    folder = copytree(made(family), tmp_path / "model")
    before = plan(folder)
    change(folder)
    assert plan(folder).fingerprint != before.fingerprint


def test_a_card(made: Callable[[str], Path]) -> None:
    card = plan(made("pylate-bert"), dtype="fp32")
    assert (card.dim, card.max_tokens, card.query_max_tokens) == (DIM, 24, 16)
    assert (card.query_prompt, card.document_prompt, card.dtype) == ("", "", "fp32")
    assert (card.pool, card.stored, card.bits, card.normalised) == (1, "fp16", 0, True)
    assert from_json(LateCard, to_json(card)) == card
    assert plan(made("st-bert")).query_prompt == "[Q] "
    assert not plan(made("st-plain")).normalised
    assert plan(made("st-pooled")).pool == 2
    assert not plan(made("pylate-bert"), pool=2).normalised


@pytest.mark.parametrize(
    "more",
    [
        {"pool": 2},
        {"stored": "4"},
        {"stored": "2"},
        {"document_tokens": 20},
        {"query_tokens": 20},
        {"query_prompt": "x"},
        {"document_prompt": "x"},
        {"dtype": "bf16"},
    ],
)
def test_settings_decide(made: Callable[[str], Path], more: dict[str, object]) -> None:
    folder = made("pylate-bert")
    plain = {"dtype": "fp32"}
    assert plan(folder, **{**plain, **more}).fingerprint != plan(folder, **plain).fingerprint


def test_centroids_decide_codes_alone(made: Callable[[str], Path]) -> None:
    folder = made("pylate-bert")
    one, other = (plan(folder, stored="2", centroids=n) for n in (4, 8))
    assert one.fingerprint != other.fingerprint
    assert plan(folder, centroids=4).fingerprint == plan(folder).fingerprint
    assert plan(folder, batch_tokens=9).fingerprint == plan(folder).fingerprint


def test_a_dim_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    folder = late_model(tmp_path, "pylate-bert")
    weight = torch.ones(10, json.loads((folder / "config.json").read_text())["hidden_size"])
    save_file({"linear.weight": weight}, folder / "1_Dense" / WEIGHTS)
    edit_json(folder / DENSE, out_features=10)
    assert plan(folder, stored="4").dim == 10
    for stored in ("2", "1"):
        with pytest.raises(SettingsError, match="10 components, whose codes"):
            plan(folder, stored=stored)


def test_settings_beyond_the_model_are_refused(made: Callable[[str], Path]) -> None:
    for name in ("document_tokens", "query_tokens"):
        with pytest.raises(SettingsError, match=f"encoder.{name} = 4000, but the model has"):
            plan(made("st-bert"), **{name: 4000})


def test_pylate_without_a_length_is_asked_for_one(tmp_path: Path) -> None:
    folder = late_model(tmp_path, "pylate-bert")
    unsaid(ST, "document_length")(folder)
    with pytest.raises(SettingsError, match="180 tokens"):
        plan(folder)
    assert plan(folder, document_tokens=30).max_tokens == 30


def test_notes_say_what_the_library_does_otherwise(tmp_path: Path) -> None:
    folder = late_model(tmp_path, "st-bert")
    edit_json(folder / ST, similarity_fn_name="meanmaxsim", prompts={"passage": "text: "})
    notes = read_late_folder(settings(folder)).config.notes
    assert len(notes) == 2
    assert "passage" in notes[0]
    assert "meanmaxsim" in notes[1]


def test_words_that_pylate_would_take_for_unknown_ones_are_told(
    made: Callable[[str], Path],
) -> None:
    both = [settings(made("pylate-bert")), EncoderSettings(), settings(made("pylate-bert"))]
    [told] = [note for note in column_notes(both) if "PyLate" in note]
    assert "no tokens of its tokeniser: ! " in told
    assert not [note for note in late_notes(settings(made("st-bert"))) if "PyLate" in note]


def test_a_dense_encoder_refuses_one(made: Callable[[str], Path]) -> None:
    for family, named in (
        ("st-bert", "query_expansion"),
        ("st-pooled", "module_input_name"),
        ("pylate-bert", "query_prefix"),
    ):
        with pytest.raises(InputError, match=named):
            read_encoder_card(EncoderSettings(model=str(made(family))))
