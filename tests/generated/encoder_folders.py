"""Encoders' folders that nobody thought of, saved by the real libraries: one frozen value each."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules.dense import Dense

from tests.tiny_models import MAX_TOKENS, edit_json, tiny_encoder, write_json

WIDTH = 32
_LIBRARY = "sentence_transformers.models."
_OLDER = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_ACTIVATIONS = {
    "tanh": torch.nn.Tanh(),
    "identity": torch.nn.Identity(),
    "relu": torch.nn.ReLU(),
    "gelu": torch.nn.GELU(),
}


@dataclass(frozen=True)
class DenseSpec:
    """A Dense module: components that it gives, activation, bias, residual."""

    outputs: int
    activation: str
    bias: bool
    residual: bool


@dataclass(frozen=True)
class FolderSpec:
    """What a folder holds.

    Attributes:
        body: a family of `tiny_encoder`.
        layout: whether it is sentence-transformers' ("modules") or a plain transformer's.
        poolings: the library's names, side by side.
        steps: what follows the pooling: a Dense, or "normalize".
        prompts, default_prompt, similarity, truncate_dim: of config_sentence_transformers.json.
        called: of sentence_bert_config.json.
        tokenised: of tokenizer_config.json.
        weights: how the weights lie: "single", "sharded", or either beside a "stray" file.
    """

    body: str
    layout: str
    poolings: tuple[str, ...]
    older_pooling: bool
    steps: tuple[DenseSpec | str, ...]
    prompts: tuple[tuple[str, str], ...]
    default_prompt: str | None
    similarity: str | None
    truncate_dim: int | None
    called: tuple[tuple[str, Any], ...]
    tokenised: tuple[tuple[str, Any], ...]
    weights: str


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[tuple[str, Any], ...]]:
    """Some of these keys, each with one of its values."""
    found = st.fixed_dictionaries({}, optional=fields)
    return found.map(lambda values: tuple(sorted(values.items())))


_PROMPT = st.sampled_from(["", "query: ", "wing flow ", "text: "])
_DENSE = st.builds(
    DenseSpec,
    st.sampled_from([8, WIDTH]),
    st.sampled_from(sorted(_ACTIVATIONS)),
    st.booleans(),
    st.booleans(),
)
SPECS: st.SearchStrategy[FolderSpec] = st.builds(
    FolderSpec,
    body=st.sampled_from(["bert", "roberta-cls", "qwen2-last"]),
    layout=st.sampled_from(["modules", "modules", "modules", "plain"]),
    poolings=st.lists(
        st.sampled_from(
            ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
        ),
        min_size=1,
        max_size=2,
        unique=True,
    ).map(tuple),
    older_pooling=st.booleans(),
    steps=st.lists(_DENSE | st.just("normalize"), max_size=3).map(tuple),
    prompts=some(query=_PROMPT, document=_PROMPT, topic=_PROMPT),
    default_prompt=st.sampled_from([None, None, "query", "document", "topic"]),
    similarity=st.sampled_from([None, "cosine", "dot", "euclidean", "manhattan"]),
    truncate_dim=st.sampled_from([None, None, 5, 8]),
    called=some(
        max_seq_length=st.sampled_from([8, 20, MAX_TOKENS, None]),
        do_lower_case=st.booleans(),
        query_length=st.sampled_from([None, 7]),
        document_length=st.sampled_from([None, 12]),
        processor_kwargs=st.sampled_from([{}, {"model_max_length": 10}]),
        query_expansion=st.sampled_from([None, {"strategy": "fixed", "length": 12}]),
        processing_kwargs=st.sampled_from([{}, {"text": {"truncation": False}}]),
    ),
    tokenised=some(
        model_max_length=st.sampled_from([9, 30, 10**30]),
        padding_side=st.sampled_from(["left", "right"]),
        truncation_side=st.sampled_from(["right", "left"]),
        do_lower_case=st.booleans(),
        add_prefix_space=st.booleans(),
    ),
    weights=st.sampled_from(["single", "single", "sharded", "single+stray", "sharded+stray"]),
)


@cache
def _body(family: str) -> Path:
    """The family's transformer alone, made once."""
    folder = tiny_encoder(Path(mkdtemp()) / family, family)
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "1_Pooling", ignore_errors=True)
    return folder


def write_folder(spec: FolderSpec, folder: Path) -> Path:
    """Save the encoder; equal specs give equal files."""
    shutil.copytree(_body(spec.body), folder, dirs_exist_ok=True)
    edit_json(folder / "tokenizer_config.json", **dict(spec.tokenised))
    lay_weights(folder, spec.weights)
    if spec.layout == "modules":
        _write_modules(spec, folder)
        write_json(folder / "sentence_bert_config.json", dict(spec.called))
    write_json(folder / "config_sentence_transformers.json", _config(spec))
    return folder


def _config(spec: FolderSpec) -> dict[str, Any]:
    found = {"similarity_fn_name": spec.similarity, "prompts": dict(spec.prompts)}
    found["default_prompt_name"] = spec.default_prompt
    return found if spec.truncate_dim is None else {**found, "truncate_dim": spec.truncate_dim}


def _write_modules(spec: FolderSpec, folder: Path) -> None:
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    write_json(folder / "1_Pooling" / "config.json", _pooling(spec))
    width = WIDTH * len(spec.poolings)
    for number, step in enumerate(spec.steps, 2):
        if isinstance(step, DenseSpec):
            modules.append(("Dense", f"{number}_Dense"))
            _save_dense(folder / f"{number}_Dense", width, step, number)
            width = step.outputs
        else:
            modules.append(("Normalize", f"{number}_Normalize"))
    entries = [
        {"idx": n, "name": str(n), "path": path, "type": _LIBRARY + name}
        for n, (name, path) in enumerate(modules)
    ]
    write_json(folder / "modules.json", entries)


def _pooling(spec: FolderSpec) -> Mapping[str, Any]:
    if spec.older_pooling:
        return {"word_embedding_dimension": WIDTH, **{_OLDER[m]: True for m in spec.poolings}}
    modes: Any = list(spec.poolings) if len(spec.poolings) > 1 else spec.poolings[0]
    return {"embedding_dimension": WIDTH, "pooling_mode": modes, "include_prompt": True}


def _save_dense(folder: Path, width: int, spec: DenseSpec, seed: int) -> None:
    torch.manual_seed(seed)
    module = Dense(
        width, spec.outputs, spec.bias, _ACTIVATIONS[spec.activation], use_residual=spec.residual
    )
    folder.mkdir(parents=True)
    module.save(str(folder))


def lay_weights(folder: Path, how: str) -> None:
    """Lay the weights of a saved model as a spec's `weights` says."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    if "stray" in how:
        wrong = {name: tensor + 1 for name, tensor in weights.items()}
        save_file(wrong, folder / "model_old.safetensors", {"format": "pt"})
    if how.startswith("sharded"):
        names, listed = sorted(weights), {}
        for number, mine in enumerate((names[::2], names[1::2]), 1):
            file = f"model-0000{number}-of-00002.safetensors"
            save_file({n: weights[n] for n in mine}, folder / file, {"format": "pt"})
            listed |= dict.fromkeys(mine, file)
        path.unlink()
        write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": listed})
