"""Cards of learned sparse encoders, and what a folder of one may say and is refused by name."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from shardrank.core.cards import SparseCard
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.model_settings import EncoderSettings, SparseSettings
from shardrank.core.papers import from_json, to_json
from shardrank.models.cards import read_encoder_card, settled
from shardrank.models.complete import check_sparse
from shardrank.models.encoders.sparse import load_sparse
from shardrank.models.folder.table import UNLIMITED
from shardrank.models.sparse_cards import read_sparse_card
from tests.module_models import module_encoder
from tests.sparse_models import DOCUMENT_PROMPT, QUERY_PROMPT, save_masked, sparse_encoder
from tests.tiny_models import MAX_TOKENS, edit_json, tiny_encoder, write_json

Change = Callable[[Path], Any]
ST = "config_sentence_transformers.json"
CALLED = "sentence_bert_config.json"
POOLING = "1_SpladePooling/config.json"
TABLE = "query_0_SparseStaticEmbedding"
LIBRARY = "sentence_transformers.sparse_encoder.modules"
WEIGHTS = "model.safetensors"
DECODER = "cls.predictions.decoder"


def settings(folder: Path, **more: object) -> SparseSettings:
    return SparseSettings(**{"family": "sparse", "model": str(folder), **more})


def card(folder: Path, **more: object) -> SparseCard:
    return read_sparse_card(settings(folder, **more))


def plan(folder: Path) -> SparseCard:
    """What a driver does before any stage."""
    check_sparse(settings(folder))
    return card(folder)


def edited(name: str, **values: Any) -> Change:
    return lambda folder: edit_json(folder / name, **values)


def weighted(change: Callable[[dict[str, torch.Tensor]], Any], below: str = "") -> Change:
    def act(folder: Path) -> None:
        weights = load_file(folder / below / WEIGHTS)
        change(weights)
        save_file(weights, folder / below / WEIGHTS, {"format": "pt"})

    return act


def modules(*types: str) -> Change:
    paths = ("", "1_SpladePooling", "2_Other")
    entries = [{"idx": 0, "name": "0", "path": p, "type": t} for p, t in zip(paths, types)]  # noqa: B905
    return lambda folder: write_json(folder / "modules.json", entries)


def unsaid(name: str, key: str) -> Change:
    """Without a key."""

    def act(folder: Path) -> None:
        path = folder / name
        write_json(path, {n: v for n, v in json.loads(path.read_text()).items() if n != key})

    return act


def widened(weights: dict[str, torch.Tensor]) -> None:
    weights["weight"] = torch.ones(len(weights["weight"]) + 1)


MASKED, SPLADE = "sentence_transformers.base.modules.Transformer", f"{LIBRARY}.SpladePooling"
REFUSED: list[tuple[str, str, Change, str]] = [
    ("a cosine", "bert", edited(ST, similarity_fn_name="cosine"), 'similarity_fn_name = "cosine"'),
    ("an unknown key", "bert", edited(ST, shiny=1), "shiny = 1"),
    ("no number of terms", "bert", edited(ST, max_active_dims=0), "max_active_dims = 0"),
    ("no number of terms at all", "bert", edited(ST, max_active_dims="9"), "max_active_dims"),
    ("a bi-encoder", "bert", edited(ST, model_type="SentenceTransformer"), "SentenceTransformer"),
    ("late interaction", "bert", edited(ST, model_type="MultiVectorEncoder"), "MultiVector"),
    ("an older bi-encoder", "bert", unsaid(ST, "model_type"), "is a SentenceTransformer"),
    ("no kind of model", "bert", lambda folder: (folder / ST).unlink(), "SentenceTransformer"),
    ("a default prompt that is not there", "bert", edited(ST, default_prompt_name="x"), "'x'"),
    ("an unknown pooling", "bert", edited(POOLING, pooling_strategy="mean"), "'mean'"),
    ("an unknown activation", "bert", edited(POOLING, activation_function="gelu"), "'gelu'"),
    ("an unknown key of the pooling", "bert", edited(POOLING, power=2), "power = 2"),
    ("another task", "bert", edited(CALLED, transformer_task="feature-extraction"), "task"),
    ("hidden states", "bert", unsaid(CALLED, "transformer_task"), "takes hidden states"),
    (
        "another way through the model",
        "bert",
        edited(
            CALLED, modality_config={"text": {"method": "forward", "method_output_name": "loss"}}
        ),
        "loss",
    ),
    (
        "a contrastive model",
        "bert",
        modules(MASKED, "sentence_transformers.models.Pooling", f"{LIBRARY}.SparseAutoEncoder"),
        "Pooling",
    ),
    (
        "an autoencoder",
        "bert",
        modules(MASKED, f"{LIBRARY}.SparseAutoEncoder"),
        "no terms of a vocabulary",
    ),
    ("own code", "bert", modules(MASKED, "mine.SpladePooling"), "mine.SpladePooling"),
    ("no pooling", "bert", modules(MASKED), "an order that is not supported"),
    (
        "a table behind",
        "bert",
        modules(MASKED, SPLADE, f"{LIBRARY}.SparseStaticEmbedding"),
        "an order",
    ),
    ("modules in no order", "bert", modules(SPLADE, MASKED), "an order"),
    ("no modules", "bert", modules(), "an order"),
    ("a family that was not tried", "bert", edited("config.json", model_type="fnet"), "'fnet'"),
    ("a decoder", "bert-plain", edited("config.json", model_type="bart"), "'bart'"),
    ("no vocabulary", "bert", edited("config.json", vocab_size=None), "vocab_size = None"),
    ("a longer vocabulary", "bert", edited("config.json", vocab_size=127), "another shape"),
    (
        "no masked language model",
        "bert-plain",
        edited("config.json", architectures=["BertModel"]),
        "is BertModel",
    ),
    ("no class at all", "bert-plain", unsaid("config.json", "architectures"), "…ForMaskedLM"),
    (
        "no head",
        "bert-plain",
        weighted(lambda w: [w.pop(n) for n in list(w) if "cls" in n]),
        "lacks 5 weights",
    ),
    (
        "no decoder of its own",
        "bert-untied",
        weighted(lambda w: w.pop(f"{DECODER}.weight")),
        f"such as {DECODER}.weight",
    ),
    (
        "a head with more in it",
        "bert",
        weighted(lambda w: w.update({"cls.predictions.more": torch.ones(3)})),
        "cls.predictions.more",
    ),
    ("a missing layer", "bert", edited("config.json", num_hidden_layers=3), "lacks 16 weights"),
    ("another's missing layer", "distilbert", edited("config.json", n_layers=3), "lacks 16"),
    (
        "another's missing head",
        "distilbert",
        weighted(lambda w: w.pop("vocab_transform.weight")),
        "vocab_transform.weight",
    ),
    ("an adapter", "bert", lambda f: (f / "adapter_config.json").write_text("{}"), "adapter"),
    (
        "weights in JSON",
        "router",
        lambda folder: write_json(folder / TABLE / "config.json", {"path": "idf.json"}),
        "idf.json",
    ),
    ("an unknown key of a table", "router", edited(f"{TABLE}/config.json", log=True), "log"),
    ("a table of another width", "router", weighted(widened, TABLE), "queries of 127"),
    ("no table", "router", weighted(lambda w: w.update(b=torch.ones(2)), TABLE), "no 'weight'"),
    ("a pickled table", "router", lambda f: pickled(f / TABLE), "a pickle"),
    ("no route for queries", "router", edited("router_config.json", structure={}), "no route"),
    (
        "something behind the router",
        "router",
        modules("sentence_transformers.base.modules.router.Router", SPLADE),
        "an order",
    ),
]


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder of a family, made once."""
    return cache(lambda family: sparse_encoder(tmp_path_factory.mktemp(family), family))


@pytest.mark.parametrize(
    ("family", "change", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_folders_are_refused(
    made: Callable[[str], Path], tmp_path: Path, family: str, change: Change, said: str
) -> None:
    folder = copytree(made(family), tmp_path / "copy")
    plan(folder)
    change(folder)
    with pytest.raises(InputError) as caught:
        plan(folder)
    assert said in caught.value.message


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_weights_of_terms_are_numbers_above_zero(tmp_path: Path, value: float) -> None:
    folder = sparse_encoder(tmp_path, "router")
    weighted(lambda w: w["weight"].__setitem__(5, value), TABLE)(folder)
    encoder = load_sparse(settings(folder), "cpu")
    encoder.encode_documents(["heat"])
    with pytest.raises(InputError, match="below zero or not finite"):
        encoder.encode_queries(["heat"])


def test_an_encoder_is_no_sparse_encoder_nor_the_other_way_round(tmp_path: Path) -> None:
    for family in ("bert-st", "bert"):
        with pytest.raises(InputError, match=r"SentenceTransformer|BertModel"):
            card(tiny_encoder(tmp_path / family, family))
    with pytest.raises(InputError, match="SentenceTransformer"):
        card(module_encoder(tmp_path / "static", "static"))
    with pytest.raises(InputError, match="fill-mask"):
        read_encoder_card(EncoderSettings(model=str(sparse_encoder(tmp_path / "sparse", "bert"))))


def test_a_card_says_what_the_folder_says(tmp_path: Path) -> None:
    found = card(sparse_encoder(tmp_path, "bert-sum"))
    assert (found.family, found.vocabulary, found.dtype) == ("sparse", 126, "fp32")
    assert (found.max_tokens, found.query_max_tokens) == (MAX_TOKENS, MAX_TOKENS)
    assert (found.query_prompt, found.document_prompt) == (QUERY_PROMPT, DOCUMENT_PROMPT)
    assert (found.top, found.query_top) == (9, 9)
    assert from_json(SparseCard, to_json(found)) == found


def test_a_table_has_the_longest_input_of_its_tokeniser(tmp_path: Path) -> None:
    folder = sparse_encoder(tmp_path, "router")
    assert card(folder).query_max_tokens == MAX_TOKENS
    assert card(folder, max_tokens=20).query_max_tokens == 20
    edit_json(folder / TABLE / "tokenizer_config.json", model_max_length=10**30)
    assert (card(folder).query_max_tokens, card(folder).max_tokens) == (UNLIMITED, MAX_TOKENS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("query_prompt", "q "),
        ("document_prompt", ""),
        ("max_tokens", 20),
        ("dtype", "bf16"),
        ("top", 5),
    ],
)
def test_settings_win_and_change_the_fingerprint(tmp_path: Path, name: str, value: object) -> None:
    folder = sparse_encoder(tmp_path, "bert-sum")
    found = card(folder, **{name: value})
    assert getattr(found, name) == value
    assert found.fingerprint != card(folder).fingerprint
    assert card(folder, name="other", batch_tokens=7).fingerprint == card(folder).fingerprint


CHANGES: list[Change] = [
    edited("config.json", layer_norm_eps=1e-3),
    edited(POOLING, pooling_strategy="max"),
    edited(POOLING, activation_function="relu"),
    edited(ST, max_active_dims=None),
    weighted(lambda w: w["cls.predictions.bias"].add_(1)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_is_in_the_fingerprint(tmp_path: Path, change: Change) -> None:
    folder = sparse_encoder(tmp_path, "bert-sum")
    before = card(folder)
    edit_json(folder / POOLING, embedding_dimension=126)
    assert card(folder) == before
    change(folder)
    assert card(folder).fingerprint != before.fingerprint


def test_the_table_of_queries_is_in_the_fingerprint(tmp_path: Path) -> None:
    folder = sparse_encoder(tmp_path, "router")
    before = card(folder)
    weighted(lambda w: w["weight"].mul_(2), TABLE)(folder)
    after = card(folder)
    assert (after.weights_sha256, after.max_tokens) == (before.weights_sha256, before.max_tokens)
    assert after.fingerprint != before.fingerprint


def test_older_names_are_read(tmp_path: Path) -> None:
    """Classes as sentence-transformers 5 names them; a call that does not say the task."""
    folder = sparse_encoder(tmp_path, "bert")
    older = "sentence_transformers.sparse_encoder.models"
    modules(f"{older}.MLMTransformer.MLMTransformer", f"{older}.SpladePooling.SpladePooling")(
        folder
    )
    before = card(folder).fingerprint
    write_json(folder / CALLED, {"max_seq_length": 50, "do_lower_case": False})
    write_json(folder / POOLING, {"pooling_strategy": "max", "word_embedding_dimension": None})
    assert (card(folder).max_tokens, card(folder, max_tokens=64).fingerprint) == (50, before)


def test_norms_and_biases_by_their_older_names(tmp_path: Path) -> None:
    folder = save_masked(tmp_path, "bert")
    texts = ["heat flow", "wing"]
    expected = load_sparse(settings(folder), "cpu").encode_documents(texts)

    def rename(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            older = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            older = older.replace("LayerNorm.bias", "LayerNorm.beta")
            weights[older] = weights.pop(name)
        weights[f"{DECODER}.weight"] = weights["bert.embeddings.word_embeddings.weight"].clone()
        weights[f"{DECODER}.bias"] = weights["cls.predictions.bias"].clone()
        weights["cls.seq_relationship.bias"] = torch.ones(2)
        weights["bert.pooler.dense.bias"] = torch.ones(32)

    weighted(rename)(folder)
    check_sparse(settings(folder))
    found = load_sparse(settings(folder), "cpu").encode_documents(texts)
    np.testing.assert_array_equal(found.terms, expected.terms)
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_more_than_the_model_has_is_refused(tmp_path: Path) -> None:
    folder = sparse_encoder(tmp_path, "roberta")
    with pytest.raises(SettingsError, match="positions"):
        card(folder, max_tokens=1000)


def test_a_worker_loads_the_dtype_that_was_planned(tmp_path: Path) -> None:
    folder = sparse_encoder(tmp_path, "bert")
    planned = read_sparse_card(settings(folder), halve=True)
    assert (planned.dtype, settled(settings(folder), planned).dtype) == ("bf16", "bf16")
    assert load_sparse(settings(folder), "cpu", planned).card == planned
