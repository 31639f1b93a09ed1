"""What is refused from names alone, before transformers is imported, is what the library itself
refuses: of a tiny model of every family each weight is left out in turn, and both are asked."""

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from shardrank.core.errors import InputError
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.complete import check_encoder
from shardrank.models.folder.families import CLASSIFIERS, ENCODERS, HALVES
from shardrank.models.folder.numbered import UNIFORM, is_numbered, missing_from_layers
from shardrank.models.folder.reading import read_object
from shardrank.models.folder.unnumbered import missing_beside_layers, missing_from_head
from shardrank.models.forward.padded import classifier_report, encoder_report
from tests.family_models import save_classifier, save_encoder, save_half
from tests.tiny_models import edit_json, tiny_encoder

OWN = """
from torch import nn
from transformers import Qwen2Model

class Model(Qwen2Model):
    def __init__(self, config):
        super().__init__(config)
        self.norm = nn.Identity()
"""
REFUSED = """
import sys
from shardrank.core.errors import InputError
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.complete import check_encoder
try:
    check_encoder(EncoderSettings(model=sys.argv[1]))
except InputError as error:
    print(error.message, sorted({"ray", "transformers"} & {*sys.modules}))
"""

Report = Callable[[Path, bool], tuple[list[str], list[str]]]
FEW = ("deberta-v2", "gpt2", "modernbert", "mpnet", "nomic_bert", "qwen3")
FEW_ENCODERS = (*FEW, "t5", "m2m_100")

#: What only the library knows besides: neither a layer's, nor an embedding, a norm or a map that
#: a family's head always has. Layers are left to it where they are not all alike (not UNIFORM).
LEFT: Mapping[str, str] = {
    "deepseek_v4": "hc_head",
    "hy_v4": r"hc_head\.",
    "esm": r"contact_head\.|inv_freq",
    "flaubert": r"sequence_summary\.",
    "hrm_text": "z_L_init",
    "ibert": r"act_scaling_factor|x_min|x_max|shift|weight_integer|weight_scaling_factor",
    "mistral_large4_text": r"rotary_emb\.alpha",
    "molmo2_text": r"wte\.new_embedding",  # the rest of its table
    "mobilebert": r"pooler\.",  # a classifier's depends on its configuration
    "modernbert": r"layers\.1\.attn_norm\.",  # the first layer has none, and here there are two
    "xlm": r"sequence_summary\.",
    "xlnet": r"mask_emb|sequence_summary\.",
    "zaya": "input_hidden_states_",
}
#: Configurations in which families have other embeddings or norms.
OTHERWISE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("deberta", {"position_biased_input": False, "relative_attention": True}),
    ("deberta", {"type_vocab_size": 2}),
    (
        "deberta-v2",
        {
            "conv_kernel_size": 3,
            "norm_rel_ebd": "layer_norm",
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "position_buckets": 8,
            "relative_attention": True,
            "type_vocab_size": 0,
        },
    ),
    ("deberta-v2", {"type_vocab_size": 2, "norm_rel_ebd": "none"}),
    ("electra", {"embedding_size": 16}),
    ("ernie", {"use_task_id": True}),
    ("esm", {"position_embedding_type": "rotary"}),
    ("gte", {"type_vocab_size": 0}),
    ("modernbert", {"norm_bias": True}),
    ("opt", {"do_layer_norm_before": False}),
    ("opt", {"_remove_final_layer_norm": True}),
)


def alone(names: list[str], config: Mapping[str, Any], head: bool) -> list[str]:
    """What is missing by names alone."""
    beside = missing_beside_layers(names, config)
    of_head = missing_from_head(names, config) if head else []
    return [*missing_from_layers(names, config), *beside, *of_head]


def without(folder: Path, name: str) -> Path:
    """The folder, less a weight."""
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def refuses(report: Report, folder: Path) -> bool:
    """Whether the library finds a folder wanting."""
    try:
        return bool(report(folder, False)[0])
    except InputError:
        return True


def each_left_out(folder: Path, head: bool = False) -> list[str]:
    """Weights without which the library alone refuses a folder."""
    config = read_object(folder / "config.json")
    report = classifier_report if head else encoder_report
    weights = load_file(folder / "model.safetensors")
    assert alone(list(weights), config, head) == []
    left = []
    for name in weights:
        if is_numbered(name) and config["model_type"] not in UNIFORM:
            continue
        rest = {n: weights[n] for n in weights if n != name}
        save_file(rest, folder / "model.safetensors", {"format": "pt"})
        by_name, by_library = alone(list(rest), config, head), refuses(report, folder)
        assert by_library or not by_name, name
        left += [name] if by_library and not by_name else []
    return left


def hold(family: str, left: list[str]) -> None:
    expected = LEFT.get(family)
    assert [name for name in left if not (expected and re.search(expected, name))] == []


def encoders(tmp_path: Path, family: str) -> None:
    half = family in HALVES and not HALVES[family].from_whole
    save = save_half if half else save_encoder
    hold(family, each_left_out(save(tmp_path, family)))


def classifiers(tmp_path: Path, family: str) -> None:
    hold(family, each_left_out(save_classifier(tmp_path, family, pad=True), head=True))


@pytest.mark.parametrize("family", FEW_ENCODERS)
def test_encoders(tmp_path: Path, family: str) -> None:
    encoders(tmp_path, family)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({*ENCODERS, *HALVES} - {*FEW_ENCODERS}))
def test_all_encoders(tmp_path: Path, family: str) -> None:
    encoders(tmp_path, family)


@pytest.mark.parametrize("family", sorted(CLASSIFIERS & {*FEW}))
def test_classifiers(tmp_path: Path, family: str) -> None:
    classifiers(tmp_path, family)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(CLASSIFIERS - {*FEW}))
def test_all_classifiers(tmp_path: Path, family: str) -> None:
    classifiers(tmp_path, family)


@pytest.mark.parametrize(("family", "more"), OTHERWISE)
def test_other_configurations(tmp_path: Path, family: str, more: dict[str, Any]) -> None:
    hold(family, each_left_out(save_encoder(tmp_path / "encoder", family, **more)))
    whole = save_classifier(tmp_path / "classifier", family, pad=True, **more)
    assert family in CLASSIFIERS
    names, config = list(load_file(whole / "model.safetensors")), read_object(whole / "config.json")
    assert alone(names, config, head=True) == []


@pytest.mark.parametrize("family", sorted(UNIFORM))
def test_a_missing_layer(tmp_path: Path, family: str) -> None:
    """Each weight of it is named, but for the norm that ModernBERT's first layer is without."""
    folder = save_encoder(tmp_path, family)
    names = list(load_file(folder / "model.safetensors"))
    layer = {name for name in names if ".1." in name}
    config = read_object(folder / "config.json")
    found = missing_from_layers([name for name in names if name not in layer], config)
    assert {name for name in layer if "attn_norm" not in name} <= set(found) <= layer
    assert len(layer) > 4


@pytest.mark.parametrize("family", sorted(CLASSIFIERS - {"flaubert", "xlm"}))
def test_an_encoder_is_no_classifier(family: str) -> None:
    assert missing_from_head(["embed_tokens.weight"], {"model_type": family})


@pytest.mark.parametrize("name", ["embed_tokens.weight", "norm.weight"])
def test_transformers_is_not_imported(tmp_path: Path, name: str) -> None:
    """Nor Ray: a folder that lacks something is refused in seconds."""
    folder = without(tiny_encoder(tmp_path, "qwen2-last"), name)
    code = [sys.executable, "-c", REFUSED, str(folder)]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    assert f"such as {name}" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_trusted_code_says_itself_what_it_needs(tmp_path: Path) -> None:
    folder = without(tiny_encoder(tmp_path, "qwen2-last"), "norm.weight")
    (folder / "own_model.py").write_text(OWN)
    edit_json(folder / "config.json", auto_map={"AutoModel": "own_model.Model"})
    check_encoder(EncoderSettings(model=str(folder), trust_remote_code=True))
    with pytest.raises(InputError, match=r"such as norm\.weight"):
        check_encoder(EncoderSettings(model=str(folder)))


@pytest.mark.parametrize("prefix", ["", "model.", "roberta.", "language_model.model."])
def test_names_around_a_model(prefix: str) -> None:
    config = {"model_type": "llama", "num_hidden_layers": 0}
    names = [f"{prefix}embed_tokens.weight", f"{prefix}norm.weight", "lm_head.weight"]
    assert missing_beside_layers(names, config) == []
    assert missing_beside_layers(names[1:], config) == ["embed_tokens.weight"]
    assert missing_beside_layers([names[0]], config) == ["norm.weight"]


def test_older_names() -> None:
    """TensorFlow's norms, nomic's own names, and a table under the name of one that shares it."""
    config = {"model_type": "electra", "embedding_size": 8, "hidden_size": 8}
    names = [f"electra.embeddings.{n}_embeddings.weight" for n in ("word", "position")]
    names += ["electra.embeddings.token_type_embeddings.weight"]
    norm = [f"electra.embeddings.LayerNorm.{part}" for part in ("gamma", "beta")]
    assert missing_beside_layers([*names, *norm], config) == []
    assert missing_beside_layers(names, config) == [
        "embeddings.LayerNorm.weight",
        "embeddings.LayerNorm.bias",
    ]
    shared = ["encoder.embed_tokens.weight", "encoder.final_layer_norm.weight"]
    assert missing_beside_layers(shared, {"model_type": "t5"}) == []
    assert missing_beside_layers(["embed_tokens.weight"], {"model_type": "unknown"}) == []
