"""What a model's folder says about itself, without loading the model. Imports no torch.

Two layouts: sentence-transformers (modules.json lists the modules; prompts are in
config_sentence_transformers.json; https://sbert.net/docs/package_reference/base/modules.html) and
plain transformers (config.json only).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.core.errors import InputError

#: Their names for poolings → ours. The first three are the booleans of older files.
_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
    "cls": "cls",
    "mean": "mean",
    "lasttoken": "last",
}
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True)
class Layout:
    """A model's folder as read. `pooling` is ours (mean, cls, last) or the name of one we lack.

    Attributes:
        transformer: the folder with config.json, weights and tokeniser.
        config: the parsed config.json.
        modules: class names of the modules in order, [] in a plain transformers folder.
        similarity: the similarity that the model is compared by, "cosine" where it says none.
        max_seq_length: the limit of sentence_bert_config.json in tokens, specials included.
    """

    transformer: Path
    config: Mapping[str, Any]
    modules: tuple[str, ...]
    pooling: str
    pools_prompt: bool
    similarity: str
    max_seq_length: int | None
    lower_case: bool
    query_prompt: str
    document_prompt: str


def read_layout(folder: Path) -> Layout:
    """Read a model's folder.

    Raises:
        InputError: config.json is missing, or a file is no JSON object.
    """
    modules = read_json(folder / "modules.json", [])
    first = next((m["path"] for m in modules if _class(m) == "Transformer"), "")
    transformer = folder / first
    config = read_json(transformer / "config.json")
    own = read_json(folder / "config_sentence_transformers.json", {})
    limits = _transformer_settings(transformer)
    pooling = _pooling_settings(folder, modules)
    return Layout(
        transformer=transformer,
        config=config,
        modules=tuple(_class(module) for module in modules),
        pooling=_pooling(pooling, config),
        pools_prompt=bool(pooling.get("include_prompt", True)),
        similarity=str(own.get("similarity_fn_name") or "cosine"),
        max_seq_length=limits.get("max_seq_length"),
        lower_case=bool(limits.get("do_lower_case")),
        query_prompt=_prompt(own, ("query",)),
        document_prompt=_prompt(own, _DOCUMENT_PROMPTS),
    )


def read_json(path: Path, missing: Any = None) -> Any:
    """A parsed JSON file, or `missing` where there is no such file and `missing` is not None.

    Raises:
        InputError: the file is absent and must be there, or holds no JSON.
    """
    if missing is not None and not path.is_file():
        return missing
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as JSON: {error}.", "Name a complete model folder."
        ) from error


def _class(module: Mapping[str, Any]) -> str:
    return str(module["type"]).rpartition(".")[2]


def _transformer_settings(transformer: Path) -> Mapping[str, Any]:
    """sentence_bert_config.json, which older models name after their architecture."""
    named = sorted(transformer.glob("sentence_*_config.json"))
    values: Mapping[str, Any] = read_json(named[0]) if named else {}
    return values


def _pooling_settings(folder: Path, modules: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    paths = [folder / module["path"] for module in modules if _class(module) == "Pooling"]
    values: Mapping[str, Any] = read_json(paths[0] / "config.json") if paths else {}
    return values


def _pooling(settings: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Our name of the pooling, or theirs where we lack it; without settings, by architecture."""
    if not settings:
        # A causal model's last token is the only one that has seen the whole text.
        architectures = config.get("architectures") or [""]
        return "last" if str(architectures[0]).endswith("ForCausalLM") else "mean"
    modes = settings.get("pooling_mode")
    if modes is None:
        prefix = "pooling_mode_"
        modes = [k for k, on in settings.items() if k.startswith(prefix) and on] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    return "+".join(_POOLINGS.get(str(mode), str(mode)) for mode in modes)


def _prompt(own: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first prompt that exists under one of the names, else the default one, else none."""
    prompts = own.get("prompts") or {}
    for name in (*names, own.get("default_prompt_name")):
        if name in prompts:
            return str(prompts[name] or "")
    return ""
