"""What a language model's folder must say, and what is refused by name."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shardrank.core.errors import InputError, SettingsError
from shardrank.models.complete import check_decoder
from shardrank.models.folder.decoder_folder import decoder_dtype, read_decoder_folder
from shardrank.models.folder.plain_decoder import is_plain_decoder, rope_of
from shardrank.models.folder.reading import read_object
from tests.tiny_decoders import tiny_decoder
from tests.tiny_models import byte_tokeniser, edit_json, write_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return whole(tmp_path, "llama, tied, wide heads")


def whole(folder: Path, name: str) -> Path:
    tiny_decoder(folder, name, vocabulary=416)  # transformers adds tokens to Qwen2's
    byte_tokeniser().save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    return folder


def change(file: Path, name: str, edit: Callable[[torch.Tensor], torch.Tensor] | None) -> None:
    weights = load_file(file)
    weights = {n: x for n, x in weights.items() if n != name} | (
        {name: edit(weights.get(name, torch.zeros(4)))} if edit else {}
    )
    save_file(weights, file, {"format": "pt"})


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "mistral", "gpt2", "mamba"])
def test_a_whole_folder_is_taken(name: str, tmp_path: Path) -> None:
    found = read_decoder_folder(str(whole(tmp_path, name)), None)
    check_decoder(found.layout, trusted=False)
    assert found.notes == ()


@pytest.mark.parametrize(
    "name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight", "model.embed_tokens.weight"]
)
def test_what_is_missing_is_found_before_work_begins(name: str, folder: Path) -> None:
    change(folder / "model.safetensors", name, None)
    with pytest.raises(InputError, match=f"lacks 1 weights of its architecture, such as {name}"):
        check_decoder(read_decoder_folder(str(folder), None).layout, trusted=False)


def test_another_shape_and_weights_besides_are_refused(folder: Path) -> None:
    layout = read_decoder_folder(str(folder), None).layout
    change(folder / "model.safetensors", "lm_head.bias", lambda x: x)
    with pytest.raises(InputError, match=r"no use for, such as lm_head\.bias"):
        check_decoder(layout, trusted=False)
    change(folder / "model.safetensors", "lm_head.bias", None)
    change(folder / "model.safetensors", "model.norm.weight", lambda x: x[:-1])
    with pytest.raises(InputError, match="in another shape"):
        check_decoder(layout, trusted=False)


def test_ids_without_a_vector_are_refused(folder: Path) -> None:
    layout = read_decoder_folder(str(tiny_decoder(folder, "llama", vocabulary=96)), None).layout
    with pytest.raises(InputError, match="ids up to 399, and vectors for 96 only"):
        check_decoder(layout, trusted=False)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"architectures": ["LlamaForSequenceClassification"]}, "no causal language model"),
        ({"architectures": None}, "names no class"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"vision_config": {"hidden_size": 8}}, "several models in one"),
        ({"is_encoder_decoder": True}, "several models in one"),
    ],
)
def test_what_is_no_language_model_is_refused(
    said: dict[str, object], message: str, folder: Path
) -> None:
    edit_json(folder / "config.json", **said)
    with pytest.raises(InputError, match=message):
        read_decoder_folder(str(folder), None)


@pytest.mark.parametrize(
    "said",
    [
        {"hidden_act": "gelu"},
        {"is_causal": False},
        {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}},
        {"rope_parameters": {"rope_type": "yarn"}},
        {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
        {"model_type": "granite"},
        {"hidden_size": None},
    ],
)
def test_what_our_forward_pass_does_not_know_is_left_to_the_library(
    said: dict[str, object], folder: Path
) -> None:
    config = read_object(folder / "config.json")
    assert is_plain_decoder(config)
    assert not is_plain_decoder({**config, **said})


def test_older_files_spread_the_turns_over_keys() -> None:
    older = {
        "max_position_embeddings": 64,
        "rope_theta": 5e5,
        "rope_scaling": {"type": "linear", "factor": 2.0},
    }
    found = rope_of(older)
    assert (found["rope_type"], found["rope_theta"], found["factor"]) == ("linear", 5e5, 2.0)


def test_the_type_of_the_forward_pass(folder: Path) -> None:
    config = read_object(folder / "config.json")
    assert decoder_dtype(config, "auto", halve=False) == "fp32"
    assert decoder_dtype(config, "auto", halve=True) == "bf16"
    assert decoder_dtype({**config, "dtype": "float16"}, "auto", halve=False) == "fp32"
    assert decoder_dtype({"model_type": "gpt2", "dtype": "float32"}, "auto", halve=True) == "fp32"
    assert decoder_dtype(config, "fp16", halve=True) == "fp16"
    with pytest.raises(SettingsError, match="int8"):
        decoder_dtype(config, "int8", halve=False)
