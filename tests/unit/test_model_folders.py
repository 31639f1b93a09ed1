"""What a model's folder may say and we do not read is refused by name, from its files alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from shardrank.core.cards import EncoderCard
from shardrank.core.errors import InputError
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.cards import read_encoder_card, read_reranker_card
from shardrank.models.complete import check_encoder, check_reranker
from shardrank.models.folder.headers import read_headers
from shardrank.models.folder.weights import find_weights
from shardrank.models.notes import encoder_notes
from tests.tiny_models import edit_json, tiny_encoder, tiny_reranker, write_json

Change = Callable[[Path], Any]
WORDS = "encoder.layer.0.attention.self.query"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n"


def edited(name: str, **values: Any) -> Change:
    return lambda folder: edit_json(folder / name, **values)


def cut(name: str, keep: int) -> Change:
    """The file's first bytes only; those after a negative number are lost."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def written(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def weighted(change: Callable[[dict[str, torch.Tensor]], None]) -> Change:
    def act(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return act


def quantised(weights: dict[str, torch.Tensor]) -> None:
    weights[f"{WORDS}.weight"] = weights[f"{WORDS}.weight"].to(torch.int8)
    weights[f"{WORDS}.SCB"] = torch.ones(32)


def modules(*types: str) -> Change:
    paths = ("", "1_Pooling", "1_Pooling")
    entries = [{"idx": 0, "name": "0", "path": p, "type": t} for p, t in zip(paths, types)]  # noqa: B905
    return lambda folder: write_json(folder / "modules.json", entries)


ST = "config_sentence_transformers.json"
CALLED = "sentence_bert_config.json"
OURS = "sentence_transformers.models"

REFUSED: list[tuple[str, str, Change, str]] = [
    ("8-bit rows", "bert", weighted(quantised), "as I8: quantised weights"),
    (
        "a quantisation",
        "bert",
        edited("config.json", quantization_config={"load_in_8bit": True}),
        "has quantization_config",
    ),
    ("a low-rank adapter", "bert", written("adapter_config.json", b"{}"), "adapter_config.json"),
    ("half the weights", "bert", cut("model.safetensors", -100), "is not whole"),
    ("no weights", "bert", cut("model.safetensors", 0), "no whole safetensors file"),
    ("a git-lfs pointer", "bert", written("model.safetensors", LFS), "git-lfs pointer"),
    ("a pointer as config", "bert", written("config.json", LFS), "git-lfs pointer"),
    ("an empty config", "bert", written("config.json", b"{}"), "without a name"),
    ("half a config", "bert", cut("config.json", 9), "cannot be read as JSON"),
    ("a list as config", "bert", written("config.json", b"[]"), "not an object"),
    ("a missing layer", "bert", edited("config.json", num_hidden_layers=3), "lacks 16 weights"),
    ("a layer too many", "bert", edited("config.json", num_hidden_layers=1), "holds 16 weights"),
    ("other shapes", "bert", edited("config.json", vocab_size=50), "in another shape"),
    (
        "weights of no known use",
        "bert",
        weighted(lambda w: w.update({f"{WORDS}.lora_A": torch.ones(2, 32)})),
        "lora_A",
    ),
    (
        "weights twice",
        "bert",
        weighted(lambda w: w.update({f"bert.{WORDS}.bias": torch.ones(32)})),
        "no use for",
    ),
    (
        "relative positions",
        "bert",
        edited("config.json", position_embedding_type="relative_key"),
        "position_embedding_type",
    ),
    (
        "a missing layer of another family",
        "qwen2-last",
        edited("config.json", num_hidden_layers=3, layer_types=["full_attention"] * 3),
        "lacks 12 weights",
    ),
    ("an unknown family", "bert", edited("config.json", model_type="no-such"), "no-such"),
    ("a distance", "bert-st", edited(ST, similarity_fn_name="euclidean"), "'euclidean'"),
    ("a distance by another name", "bert-st", edited(ST, similarity_fn_name="l1"), "'l1'"),
    ("an unknown key", "bert-st", edited(ST, query_prefix="q"), 'query_prefix = "q"'),
    ("another kind of model", "bert-st", edited(ST, model_type="SparseEncoder"), "SparseEncoder"),
    ("an unknown key of the call", "bert-st", edited(CALLED, shiny=True), "shiny = true"),
    (
        "query expansion",
        "bert-st",
        edited(CALLED, query_expansion={"strategy": "fixed", "length": 32}),
        "query_expansion",
    ),
    ("another task", "bert-st", edited(CALLED, transformer_task="fill-mask"), "fill-mask"),
    ("a changed config", "bert-st", edited(CALLED, config_args={"a": 1}), "config_args"),
    (
        "another way through the model",
        "bert-st",
        edited(
            CALLED,
            modality_config={
                "text": {"method": "get_text_features", "method_output_name": "pooler_output"}
            },
        ),
        "get_text_features",
    ),
    (
        "an unknown module",
        "bert-st",
        modules(f"{OURS}.Transformer", f"{OURS}.Pooling", f"{OURS}.LSTM"),
        "LSTM",
    ),
    (
        "own code first",
        "bert-st",
        modules("custom_st.Transformer", f"{OURS}.Pooling"),
        "custom_st.Transformer",
    ),
    (
        "own code behind",
        "bert-st",
        modules(f"{OURS}.Transformer", "my_pkg.Pooling"),
        "my_pkg.Pooling",
    ),
    (
        "modules in no order",
        "bert-st",
        modules(f"{OURS}.Transformer", f"{OURS}.Pooling", f"{OURS}.Pooling"),
        "order",
    ),
    ("an unknown pooling", "bert-st", edited("1_Pooling/config.json", pooling_mode="x"), "'x'"),
]


def plan(settings: EncoderSettings) -> EncoderCard:
    """What a driver does before any stage."""
    check_encoder(settings)
    return read_encoder_card(settings)


@pytest.mark.parametrize(
    ("family", "change", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_encoders_are_refused(tmp_path: Path, family: str, change: Change, said: str) -> None:
    folder = tiny_encoder(tmp_path, family)
    check_encoder(EncoderSettings(model=str(folder)))
    change(folder)
    with pytest.raises(InputError) as caught:
        plan(EncoderSettings(model=str(folder)))
    assert said in caught.value.message


RERANKERS: list[tuple[str, str, Change, str]] = [
    (
        "two labels",
        "bert",
        edited("config.json", id2label={"0": "a", "1": "b"}),
        "do not say which is relevance",
    ),
    (
        "three labels",
        "bert",
        edited("config.json", id2label={"0": "a", "1": "b", "2": "c"}),
        "has 3 labels",
    ),
    (
        "modules in no order",
        "bert",
        modules(f"{OURS}.Transformer", f"{OURS}.Pooling"),
        "has the modules Transformer, Pooling; a cross-encoder",
    ),
    (
        "a language model",
        "bert",
        edited("config.json", architectures=["Qwen2ForCausalLM"]),
        "is a Qwen2ForCausalLM",
    ),
    (
        "an activation that orders otherwise",
        "bert",
        edited("config.json", sentence_transformers={"activation_fn": "my.Activation"}),
        "my.Activation",
    ),
    (
        "no pooler",
        "bert",
        weighted(lambda w: [w.pop(name) for name in list(w) if "pooler" in name] and None),
        "pooler",
    ),
]


@pytest.mark.parametrize(
    ("family", "change", "said"), [r[1:] for r in RERANKERS], ids=[r[0] for r in RERANKERS]
)
def test_rerankers_are_refused(tmp_path: Path, family: str, change: Change, said: str) -> None:
    folder = tiny_reranker(tmp_path, family)
    check_reranker(CrossSettings(model=str(folder)))
    change(folder)
    with pytest.raises(InputError) as caught:
        check_reranker(CrossSettings(model=str(folder)))
    assert said in caught.value.message


def test_weights_beside_the_models_are_named_and_not_read(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    before = read_encoder_card(EncoderSettings(model=str(folder)))
    save_file({"x": torch.ones(1)}, folder / "model_old.safetensors")
    settings = EncoderSettings(model=str(folder))
    check_encoder(settings)
    assert read_encoder_card(settings) == before
    assert "model_old.safetensors" in encoder_notes(settings)[0]


def test_an_index_file_says_which_weights_are_read(tmp_path: Path) -> None:
    """As in transformers: model.safetensors comes before it."""
    folder = tiny_encoder(tmp_path, "bert")
    listed = {"a": "one.safetensors"}
    write_json(folder / "model.safetensors.index.json", {"weight_map": listed})
    assert [file.name for file in find_weights(folder).files] == ["model.safetensors"]
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    assert [file.name for file in find_weights(folder).files] == ["one.safetensors"]
    check_encoder(EncoderSettings(model=str(folder)))
    (folder / "one.safetensors").rename(folder / "two.safetensors")
    with pytest.raises(InputError, match=r"lists one\.safetensors, which is not there"):
        find_weights(folder)
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"a": "../x.safetensors"}})
    with pytest.raises(InputError, match="not there"):
        find_weights(folder)


def test_headers_equal_the_files(tmp_path: Path) -> None:
    weights = {"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
    save_file(weights, tmp_path / "x.safetensors")
    found = read_headers([tmp_path / "x.safetensors"])
    assert {n: h.shape for n, h in found.items()} == {"a": (2, 3), "b": (4,)}
    with pytest.raises(InputError, match="a second time"):
        read_headers([tmp_path / "x.safetensors"] * 2)


def card(folder: Path, **settings: Any) -> EncoderCard:
    return read_encoder_card(EncoderSettings(model=str(folder), **settings))


@pytest.mark.parametrize(
    ("values", "lengths"),
    [
        ({"max_seq_length": 20}, (20, 20)),
        ({"processor_kwargs": {"model_max_length": 24}, "max_seq_length": 20}, (24, 24)),
        ({"tokenizer_args": {"model_max_length": 24}}, (24, 24)),
        ({"max_seq_length": 30, "query_length": 16}, (30, 16)),
        ({"query_length": 16, "document_length": 40}, (40, 16)),
        ({"max_seq_length": None}, (64, 64)),
        ({"max_seq_length": 500}, (64, 64)),
    ],
)
def test_longest_inputs(tmp_path: Path, values: dict[str, Any], lengths: tuple[int, int]) -> None:
    folder = tiny_encoder(tmp_path, "bert-st")
    write_json(folder / CALLED, values)
    assert (card(folder).max_tokens, card(folder).query_max_tokens) == lengths
    assert card(folder, max_tokens=9).query_max_tokens == 9


def test_the_first_of_several_configs_is_read(tmp_path: Path) -> None:
    """The library's order: sentence_bert_config.json before any other name."""
    folder = tiny_encoder(tmp_path, "bert-st")
    write_json(folder / "sentence_albert_config.json", {"max_seq_length": 9})
    assert card(folder).max_tokens == 48
    (folder / CALLED).unlink()
    assert card(folder).max_tokens == 9


def test_a_cut_that_the_folder_asks_for(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert-st")
    edit_json(folder / ST, truncate_dim=8)
    assert card(folder).dim == 8
    assert card(folder, dim=16).dim == 16
    edit_json(folder / ST, truncate_dim=80)
    assert card(folder).dim == 32


def test_files_of_sentence_transformers_need_its_list_of_modules(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert-st")
    (folder / "modules.json").unlink()
    found = card(folder)
    assert (found.max_tokens, found.query_prompt) == (64, "")
    assert "no modules.json" in encoder_notes(EncoderSettings(model=str(folder)))[0]


def test_a_prompt_that_the_library_does_not_reach_is_said(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert-st")
    edit_json(folder / ST, prompts={"query": "q: ", "passage": "p: "})
    assert card(folder).document_prompt == "p: "
    assert "'passage': 'p: '" in encoder_notes(EncoderSettings(model=str(folder)))[0]


def test_a_rerankers_default_prompt(tmp_path: Path) -> None:
    folder = tiny_reranker(tmp_path, "bert")
    config = {"model_type": "CrossEncoder", "prompts": {"web": "heat "}}
    write_json(folder / ST, {**config, "default_prompt_name": "web"})
    settings = CrossSettings(model=str(folder))
    assert read_reranker_card(settings).prompt == ""  # without modules.json it is not read
    modules(f"{OURS}.Transformer")(folder)
    prompted = read_reranker_card(settings)
    assert prompted.prompt == "heat "
    write_json(folder / ST, {**config, "default_prompt_name": None})
    assert read_reranker_card(settings).prompt == ""
    assert read_reranker_card(settings).fingerprint != prompted.fingerprint
    write_json(folder / ST, {**config, "default_prompt_name": "query"})
    with pytest.raises(InputError, match="no such prompt"):
        read_reranker_card(settings)
