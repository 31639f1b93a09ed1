import json
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch

from shardrank.core.cards import (
    BitsCard,
    DerivedCard,
    DocumentCard,
    EncoderCard,
    LearnedCard,
    MuveraCard,
    RerankerCard,
)
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.papers import from_json, to_json
from shardrank.core.reranker_settings import CrossSettings
from shardrank.kernels.machine import has_vnni, multiplies_bf16, visible_gpus
from shardrank.models.cards import read_encoder_card, read_reranker_card, settled
from shardrank.models.folder.resolve import resolve_model
from tests.tiny_models import (
    DOCUMENT_PROMPT,
    MAX_TOKENS,
    QUERY_PROMPT,
    edit_json,
    tiny_encoder,
    tiny_reranker,
    write_json,
    write_modules,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_encoder(tmp_path / "model", "bert-st")


def card(folder: Path, **settings: object) -> EncoderCard:
    return read_encoder_card(EncoderSettings(model=str(folder), **settings))


def test_sentence_transformers_layout(folder: Path) -> None:
    found = card(folder)
    assert (found.dim, found.max_tokens, found.dtype) == (32, 48, "fp32")
    assert (found.pooling, found.normalise) == ("mean", True)
    assert (found.query_prompt, found.document_prompt) == (QUERY_PROMPT, DOCUMENT_PROMPT)


@pytest.mark.parametrize(
    ("family", "pooling", "limit"),
    [("bert", "mean", MAX_TOKENS), ("roberta-cls", "cls", 48), ("qwen2-last", "last", 48)],
)
def test_other_families(tmp_path: Path, family: str, pooling: str, limit: int) -> None:
    found = card(tiny_encoder(tmp_path, family))
    assert (found.pooling, found.max_tokens, found.normalise) == (pooling, limit, True)
    assert (found.query_prompt, found.document_prompt) == ("", "")


def test_roberta_loses_two_positions(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "roberta-cls")
    (folder / "sentence_bert_config.json").unlink()
    edit_json(folder / "tokenizer_config.json", model_max_length=10**30)
    assert card(folder).max_tokens == MAX_TOKENS
    with pytest.raises(SettingsError, match=f"{MAX_TOKENS} positions"):
        card(folder, max_tokens=MAX_TOKENS + 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pooling", "cls"),
        ("normalise", False),
        ("query_prompt", "q "),
        ("document_prompt", ""),
        ("max_tokens", 20),
        ("dim", 8),
        ("dtype", "bf16"),
    ],
)
def test_settings_win_and_change_the_fingerprint(folder: Path, name: str, value: object) -> None:
    found = card(folder, **{name: value})
    assert getattr(found, name) == value
    assert found.fingerprint != card(folder).fingerprint


def test_pools_and_storage_stay_out_of_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    expected = card(moved).fingerprint
    assert card(moved, batch_tokens=7, stored="fp32").fingerprint == expected
    again = tiny_encoder(tmp_path / "again", "bert-st")
    assert card(again).fingerprint == expected


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_changed_files_change_the_fingerprint(folder: Path, file: str) -> None:
    before = card(folder).fingerprint
    path = folder / file
    if file == "model.safetensors":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    elif file == "config.json":
        edit_json(path, layer_norm_eps=1e-3)
    else:
        path.write_text(path.read_text().replace("##", "++"))
    assert card(folder).fingerprint != before


def test_default_prompt_and_passage_prompt(folder: Path) -> None:
    """The default prompt is for neither: `encode_query` and `encode_document` prefer none to it."""
    prompts = {"passage": "p: ", "any": "x: "}
    path = folder / "config_sentence_transformers.json"
    write_json(path, {"prompts": prompts, "default_prompt_name": "any"})
    assert (card(folder).query_prompt, card(folder).document_prompt) == ("", "p: ")
    write_json(path, {"prompts": prompts, "default_prompt_name": "none"})
    with pytest.raises(InputError, match="default_prompt_name = 'none'"):
        card(folder)


def test_dot_product_models_are_not_normalised(folder: Path) -> None:
    write_modules(folder, ["Transformer", "Pooling"])
    assert card(folder).normalise  # compared by cosine, sentence-transformers' default
    edit_json(folder / "config_sentence_transformers.json", similarity_fn_name="dot")
    assert not card(folder).normalise


def test_unsupported_modules_and_poolings(folder: Path) -> None:
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode_max_tokens=True)
    assert (card(folder).pooling, card(folder).dim) == ("max+mean", 64)
    assert card(folder, pooling="cls").pooling == "cls"
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode="first-and-last")
    with pytest.raises(InputError, match="first-and-last"):
        card(folder)
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode="mean")
    write_modules(folder, ["Transformer", "Pooling", "LSTM"])
    with pytest.raises(InputError, match="LSTM"):
        card(folder)


def test_a_prompt_left_out_of_pooling_changes_the_fingerprint(folder: Path) -> None:
    before = card(folder).fingerprint
    edit_json(folder / "1_Pooling" / "config.json", include_prompt=False)
    assert card(folder).fingerprint != before


@pytest.mark.parametrize(
    ("files", "expected"),
    [("float32", "fp32"), ("bfloat16", "bf16"), ("float16", "fp32"), (None, "fp32")],
)
def test_dtype_auto(folder: Path, files: str | None, expected: str) -> None:
    values = json.loads((folder / "config.json").read_text())
    values.pop("dtype", None)
    write_json(folder / "config.json", {**values, "torch_dtype": files})
    assert card(folder).dtype == expected
    assert card(folder, dtype="fp16").dtype == "fp16"


@pytest.mark.parametrize(("family", "halved"), [("bert", "bf16"), ("qwen2-last", "bf16")])
def test_dtype_auto_where_bf16_is_fast(tmp_path: Path, family: str, halved: str) -> None:
    settings = EncoderSettings(model=str(tiny_encoder(tmp_path, family)))
    assert read_encoder_card(settings, halve=True).dtype == halved
    asked = settings.model_copy(update={"dtype": "fp32"})
    assert read_encoder_card(asked, halve=True).dtype == "fp32"


def test_a_settled_card_is_the_same_on_every_machine(folder: Path) -> None:
    settings = EncoderSettings(model=str(folder))
    planned = read_encoder_card(settings, halve=True)
    assert read_encoder_card(settled(settings, planned)) == planned


def test_what_this_cpu_multiplies() -> None:
    """As torch sees it: its own 8-bit product is fast where it sees VNNI, and only there."""
    found = torch.cpu.get_capabilities()
    assert has_vnni() == found.get("avx512_vnni", False)
    if multiplies_bf16():
        assert found.get("avx512_bf16", False)


@pytest.mark.parametrize(
    ("features", "name", "multiplies"),
    [
        ({"avx512bf16", "amx-bf16"}, "sapphirerapids", True),
        ({"avx512bf16"}, "emeraldrapids", False),  # AMX is hidden: fp32 is faster there
        ({"avx512bf16"}, "cooperlake", False),
        ({"avx512bf16"}, "znver4", True),
        ({"avx512bf16"}, "znver5", True),
        ({"avx2"}, "znver3", False),
        (None, "an unknown family", False),
    ],
)
def test_bf16_where_it_is_faster_than_float32(
    features: set[str] | None, name: str, multiplies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> dict[str, bool]:
        if features is None:
            raise RuntimeError("host CPU features not supported")
        return dict.fromkeys(features, True)

    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", found)
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_name", lambda: name)
    assert multiplies_bf16.__wrapped__() == multiplies


def test_dim_above_the_width(folder: Path) -> None:
    with pytest.raises(SettingsError, match="32 components"):
        card(folder, dim=33)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "bert"})
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"pytorch_model\.bin") as caught:
        card(tmp_path)
    assert "save_pretrained" in caught.value.hint


def test_what_is_no_folder() -> None:
    with pytest.raises(InputError, match="no model folder"):
        resolve_model("./nowhere", None)


def test_a_revision_is_for_hubs(folder: Path) -> None:
    with pytest.raises(SettingsError, match="local folder"):
        resolve_model(str(folder), "v1")


def test_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, **options: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(InputError, match="No model 'acme/none'") as caught:
        resolve_model("acme/none", None)
    assert caught.value.message.endswith("LocalEntryNotFoundError: offline")


def test_hub_gets_no_pickles(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    asked: dict[str, object] = {}

    def give(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
    assert resolve_model("acme/tiny", "v1") == folder
    assert (asked["name"], asked["revision"]) == ("acme/tiny", "v1")
    assert not any("bin" in pattern or "pt" in pattern for pattern in asked["allow_patterns"])


def test_absent_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardrank.models.folder.resolve.EMBEDDED_PACKAGE", "gt_absent")
    with pytest.raises(InputError, match="gt_absent") as caught:
        resolve_model("embedded", None)
    assert "pip install" in caught.value.hint


def test_reranker_card(tmp_path: Path) -> None:
    folder = tiny_reranker(tmp_path, "bert")
    found = read_reranker_card(CrossSettings(model=str(folder)))
    assert (found.max_tokens, found.interpolation, found.dtype) == (MAX_TOKENS, 1.0, "fp32")
    edit_json(folder / "config.json", shardrank={"interpolation": 0.25})
    own = read_reranker_card(CrossSettings(model=str(folder)))
    assert own.interpolation == 0.25
    set_ = read_reranker_card(CrossSettings(model=str(folder), interpolation=0, max_tokens=9))
    assert (set_.interpolation, set_.max_tokens) == (0.0, 9)
    assert set_.fingerprint != own.fingerprint


def test_interpolation_is_not_in_the_fingerprint(tmp_path: Path) -> None:
    folder = str(tiny_reranker(tmp_path, "bert"))
    plain = read_reranker_card(CrossSettings(model=folder))
    mixed = read_reranker_card(CrossSettings(model=folder, interpolation=0.5))
    assert plain.fingerprint == mixed.fingerprint


ACTIVATION = "torch.nn.modules.activation"


@pytest.mark.parametrize(
    ("older", "own", "listed", "found"),
    [
        (None, None, None, ""),
        ("Tanh", None, None, "tanh"),
        ("Tanh", "Sigmoid", None, "sigmoid"),
        ("Tanh", "Sigmoid", "Tanh", "tanh"),
    ],
)
def test_a_rerankers_activation(
    tmp_path: Path, older: str | None, own: str | None, listed: str | None, found: str
) -> None:
    """By sentence-transformers' own files, its table in config.json, its older key there."""
    folder = tiny_reranker(tmp_path, "bert")
    if older:
        edit_json(
            folder / "config.json", sbert_ce_default_activation_function=f"{ACTIVATION}.{older}"
        )
    if own:
        table = {"activation_fn": f"{ACTIVATION}.{own}"}
        edit_json(folder / "config.json", sentence_transformers=table)
    settings = CrossSettings(model=str(folder))
    before = read_reranker_card(settings)
    if listed:
        kind = "sentence_transformers.base.modules.transformer.Transformer"
        write_json(folder / "modules.json", [{"path": "", "type": kind}])
        values = {"activation_fn": f"{ACTIVATION}.{listed}"}
        write_json(folder / "config_sentence_transformers.json", values)
    card = read_reranker_card(settings)
    assert card.activation == found
    assert card.fingerprint == before.fingerprint
    assert card.score == (f"logit, without the model's {found}" if found else "logit")


def test_a_score_of_two_labels(tmp_path: Path) -> None:
    folder = tiny_reranker(tmp_path, "bert", labels=2)
    plain = read_reranker_card(CrossSettings(model=str(folder)))
    edit_json(folder / "config.json", id2label={"0": "yes", "1": "no"})
    named = read_reranker_card(CrossSettings(model=str(folder)))
    assert (plain.score, named.score) == (
        "logit of label 1 less the other's",
        "logit of label 0 less the other's",
    )
    assert plain.fingerprint != named.fingerprint


def test_a_card_of_before_is_read() -> None:
    """From a manifest that knows neither labels nor activations."""
    plain = RerankerCard("m", "f", "w", "t", 64, 1.0, "", "fp32")
    card = replace(plain, relevant=1, activation="sigmoid")
    stored = {n: v for n, v in to_json(card).items() if n not in ("relevant", "activation")}
    assert from_json(RerankerCard, stored) == plain


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (BitsCard("c", "f", 8, 2), {"bits": 2, "family": "bits"}),
        (MuveraCard("c", "f", 8, 3), {"width": 3, "family": "muvera"}),
        (LearnedCard("c", "f", 8), {"family": "learned"}),
        (
            DocumentCard("c", "f", 8, "tokens", True),
            {"weights": "tokens", "unit": True, "family": "document"},
        ),
    ],
)
def test_a_card_of_another_column_stands_in_manifests(
    card: DerivedCard, told: dict[str, object]
) -> None:
    stored = {"name": "c", "fingerprint": "f", "dim": 8, **told}
    assert to_json(card) == stored
    assert from_json(type(card), stored) == card


@pytest.mark.parametrize(
    ("named", "visible"), [(None, 2), ("", 0), ("-1", 0), ("1", 1), ("0,1,2", 2)]
)
def test_gpus_are_those_that_a_process_may_use(
    named: str | None, visible: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardrank.kernels.machine._DRIVER", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("0000:17:00.0", "0000:65:00.0"):
        (tmp_path / name).mkdir()
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == visible
