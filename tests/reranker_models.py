"""Small cross-encoders with random weights, as users bring them, by name.

Of families: as transformers saves them. two-labels: a classifier with two, whose first is
relevance. saved-by-6: as sentence-transformers 6.2 saves one, with a default prompt. headed:
Transformer, Pooling, Dense and Dense, as it saves a cross-encoder put together of modules.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from tests.family_models import save_classifier, save_encoder
from tests.tiny_models import edit_json, tiny_encoder, tiny_reranker

#: DeBERTa-v3 as its config.json has it.
V3: Mapping[str, Any] = {
    "relative_attention": True,
    "position_buckets": 8,
    "max_relative_positions": -1,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
PROMPT = "wing: "


def reranker(folder: Path, name: str) -> Path:
    """Save the random cross-encoder of that name into `folder`; equal names give equal files."""
    return _MAKE[name](folder)


def saved(folder: Path, modules: list[torch.nn.Module] | Path, **more: Any) -> Path:
    """Save a cross-encoder with sentence-transformers: of modules, or of a folder as it opens it;
    `more` are its arguments."""
    source = {"modules": modules} if isinstance(modules, list) else {"model_name_or_path": modules}
    CrossEncoder(**source, device="cpu", **more).save_pretrained(str(folder))
    return folder


def two_labels(folder: Path, *names: str) -> Path:
    """A BERT with two labels of these names; none: as transformers saves one, without any."""
    tiny_reranker(folder, "bert", labels=2)
    if names:
        edit_json(folder / "config.json", id2label=dict(enumerate(names)))
    return folder


def headed(folder: Path, kind: str, modes: tuple[str, ...], scores: int = 1, **more: Any) -> Path:
    """A cross-encoder of modules on a random encoder: `more` are arguments of its pooling."""
    torch.manual_seed(5)
    with TemporaryDirectory() as spare:
        make = tiny_encoder if kind == "bert" else save_encoder
        transformer = Transformer(str(make(Path(spare), kind)))
        width = 32 * len(modes)
        head = [
            Dense(width, 32, activation_function=torch.nn.GELU()),
            Dense(32, scores, activation_function=None, module_output_name="scores"),
        ]
        pooling = Pooling(32, modes, **more)
        prompts = {"prompts": {"web": PROMPT}, "default_prompt_name": "web"}
        return saved(folder, [transformer, pooling, *head], **prompts)


def _saved_by_6(folder: Path) -> Path:
    plain = save_classifier(folder / "plain", "deberta-v2", pad=True, **V3)
    return saved(folder / "saved", plain, prompts={"web": PROMPT}, default_prompt_name="web")


def _family(name: str, **more: Any) -> Callable[[Path], Path]:
    return lambda folder: save_classifier(folder, name, pad=True, **more)


_MAKE: Mapping[str, Callable[[Path], Path]] = {
    "bert": lambda folder: tiny_reranker(folder, "bert"),
    "roberta": lambda folder: tiny_reranker(folder, "roberta"),
    "xlm-roberta": _family("xlm-roberta"),
    "distilbert": _family("distilbert"),
    "mpnet": _family("mpnet"),
    "electra": _family("electra"),
    "deberta-v3": _family("deberta-v2", **V3),
    "modernbert": _family("modernbert"),
    "two-labels": lambda folder: two_labels(folder, "Relevant", "not_relevant"),
    "saved-by-6": _saved_by_6,
    "headed": lambda folder: headed(folder, "modernbert", ("cls",)),
}
RERANKERS = tuple(_MAKE)
