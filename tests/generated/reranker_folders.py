"""Cross-encoders' folders that nobody thought of: one frozen value each."""

import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hypothesis import strategies as st

from tests.generated.encoder_folders import lay_weights, some
from tests.tiny_models import edit_json, tiny_reranker, write_json


@dataclass(frozen=True)
class RerankerSpec:
    """What a folder holds; fields as of `FolderSpec`. `head` is of config.json, `labels` are those
    that the weights have."""

    body: str
    labels: int
    layout: str
    prompts: tuple[tuple[str, str], ...]
    default_prompt: str | None
    activation: str
    called: tuple[tuple[str, Any], ...]
    tokenised: tuple[tuple[str, Any], ...]
    head: tuple[tuple[str, Any], ...]
    weights: str


_PROMPT = st.sampled_from(["", "query: ", "wing flow "])
_TYPED = ["input_ids", "token_type_ids", "attention_mask"]
_LABELS = [
    {"0": "LABEL_0"},
    {"0": "no", "1": "yes"},
    {"0": "Relevant", "1": "not relevant"},
    {"0": "A", "1": "B"},
]
RERANKERS: st.SearchStrategy[RerankerSpec] = st.builds(
    RerankerSpec,
    body=st.sampled_from(["bert", "roberta"]),
    labels=st.sampled_from([1, 1, 2]),
    layout=st.sampled_from(["modules", "plain"]),
    prompts=some(web=_PROMPT, query=_PROMPT),
    default_prompt=st.sampled_from([None, "web", "query"]),
    activation=st.sampled_from(["linear.Identity", "activation.Sigmoid", "activation.Tanh"]),
    called=some(
        max_seq_length=st.sampled_from([28, 40, None]),
        do_lower_case=st.booleans(),
        transformer_task=st.just("sequence-classification"),
    ),
    tokenised=some(
        model_max_length=st.sampled_from([28, 40]),
        model_input_names=st.sampled_from([_TYPED, ["input_ids", "attention_mask"]]),
        do_lower_case=st.booleans(),
    ),
    head=some(id2label=st.sampled_from(_LABELS)),
    weights=st.sampled_from(["single", "sharded", "single+stray"]),
)


@cache
def _body(family: str, labels: int) -> Path:
    return tiny_reranker(Path(mkdtemp()) / family, family, labels)


def relevant_label(spec: RerankerSpec) -> int:
    """Of two labels."""
    return 0 if dict(spec.head).get("id2label", {}).get("0") == "Relevant" else 1


def write_reranker(spec: RerankerSpec, folder: Path) -> Path:
    """Save the cross-encoder; equal specs give equal files."""
    shutil.copytree(_body(spec.body, spec.labels), folder, dirs_exist_ok=True)
    edit_json(folder / "tokenizer_config.json", **dict(spec.tokenised))
    edit_json(folder / "config.json", **dict(spec.head))
    lay_weights(folder, spec.weights)
    config = {"model_type": "CrossEncoder", "prompts": dict(spec.prompts)}
    config["default_prompt_name"] = spec.default_prompt
    config["activation_fn"] = f"torch.nn.modules.{spec.activation}"
    write_json(folder / "config_sentence_transformers.json", config)
    if spec.layout == "modules":
        kind = "sentence_transformers.base.modules.transformer.Transformer"
        write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": kind}])
        called = {"transformer_task": "sequence-classification", **dict(spec.called)}
        write_json(folder / "sentence_bert_config.json", called)
    return folder
