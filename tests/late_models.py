"""Small models of token vectors, by family: saved by sentence-transformers' MultiVectorEncoder, or
laid out as PyLate 1.6 and ColBERT save them.

st-bert: prompts, queries filled up and not attended to, punctuation skipped. st-modern: attended
to, at least so long, by ModernBERT. st-plain: no mask of words, nothing filled up, two maps.
st-mpnet, st-qwen3: transformers that attend in ways of their own. st-pooled: a pooling of tokens in
the folder. pylate-bert, pylate-modern: PyLate's. colbert: a checkpoint of ColBERT."""

import json
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import (
    HierarchicalTokenPooling,
    MultiVectorMask,
)
from tokenizers import AddedToken, Tokenizer
from torch import nn
from transformers import AutoModel, PreTrainedModel

from tests.family_models import tiny_config
from tests.tiny_models import byte_tokeniser, edit_json, save, tiny_tokeniser, write_json

DIM = 16
PYLATE = {
    "prompts": {},
    "default_prompt_name": None,
    "similarity_fn_name": "MaxSim",
    "query_prefix": "[Q] ",
    "document_prefix": "[D] ",
    "query_length": 16,
    "document_length": 24,
    "attend_to_expansion_tokens": False,
    "skiplist_words": [*string.punctuation],
    "do_query_expansion": True,
}


def trunk(folder: Path, family: str, *marks: str) -> Path:
    """A random transformer of a model type, whose tokeniser knows the marks as tokens and has a
    mask."""
    torch.manual_seed(5)
    words = family in ("bert", "mpnet")
    tokeniser = tiny_tokeniser() if words else byte_tokeniser()
    tokeniser.add_special_tokens([] if words else ["<mask>"])
    tokeniser.add_tokens([AddedToken(mark, normalized=True) for mark in marks])
    model = _model(family, tokeniser, words)
    save(folder, model, tokeniser)
    more = {"mask_token": "[MASK]", "unk_token": "[UNK]"} if words else {"mask_token": "<mask>"}
    edit_json(folder / "tokenizer_config.json", **more)
    return folder


def _model(family: str, tokeniser: Tokenizer, words: bool) -> PreTrainedModel:
    config = tiny_config(family)
    config.vocab_size = tokeniser.get_vocab_size() + 4
    config.pad_token_id = 0 if family == "bert" else 1
    if family == "modernbert":  # a window that some tokens that fill up see no other through
        config.local_attention = 16
    model = AutoModel.from_config(config).eval().float()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def late_model(folder: Path, family: str) -> Path:
    """Save a random model of the family into `folder`; equal arguments, equal values."""
    with TemporaryDirectory() as spare:
        _MAKE[family](folder, Path(spare))
    return folder


def _dense(inputs: int, outputs: int, **more: Any) -> Dense:
    torch.manual_seed(9)
    more = {"bias": False, "activation_function": nn.Identity(), **more}
    return Dense(inputs, outputs, module_input_name="token_embeddings", **more)


def _st(family: str, **call: Any) -> Callable[[Path, Path], None]:
    def make(folder: Path, spare: Path) -> None:
        first = Transformer(str(trunk(spare, family, "[D] ")), **call)
        modules = [
            first,
            _dense(first.get_embedding_dimension(), DIM),
            MultiVectorMask(skiplist_words=[*string.punctuation]),
            Normalize(module_input_name="token_embeddings"),
        ]
        prompts = {"query": "[Q] ", "document": "[D] "}
        MultiVectorEncoder(modules=modules, device="cpu", prompts=prompts).save(str(folder))

    return make


def _plain(folder: Path, spare: Path) -> None:
    first = Transformer(str(trunk(spare, "bert")), query_length=10)
    maps = [
        _dense(first.get_embedding_dimension(), 24, bias=True, activation_function=nn.Tanh()),
        _dense(24, DIM, use_residual=True),
    ]
    MultiVectorEncoder(modules=[first, *maps], device="cpu").save(str(folder))


def _pooling(folder: Path, spare: Path) -> None:
    first = Transformer(str(trunk(spare, "bert")))
    modules = [
        first,
        Normalize(module_input_name="token_embeddings"),
        MultiVectorMask(skiplist_words=["wing", "."], skiplist_tasks=["query", "document"]),
        HierarchicalTokenPooling(2, num_protected_tokens=2),
    ]
    MultiVectorEncoder(modules=modules, device="cpu").save(str(folder))


def _pylate(family: str, **config: Any) -> Callable[[Path, Path], None]:
    """A folder as PyLate 1.6 writes it: marks are tokens that are normalised, and it names its
    Dense."""

    def make(folder: Path, spare: Path) -> None:
        trunk(folder, family, "[Q] ", "[D] ")
        width = json.loads((folder / "config.json").read_text())["hidden_size"]
        maps = {"in_features": width, "out_features": DIM, "bias": False}
        maps["activation_function"] = "torch.nn.modules.linear.Identity"
        write_json(folder / "1_Dense" / "config.json", {**maps, "use_residual": False})
        weight = {"linear.weight": _dense(width, DIM).linear.weight.detach()}
        save_file(weight, folder / "1_Dense" / "model.safetensors")
        types = ["sentence_transformers.models.Transformer", "pylate.models.Dense.Dense"]
        write_json(
            folder / "modules.json",
            [
                {"idx": i, "name": str(i), "path": path, "type": kind}
                for i, (path, kind) in enumerate(zip(["", "1_Dense"], types, strict=True))
            ],
        )
        write_json(folder / "config_sentence_transformers.json", {**PYLATE, **config})
        called = {"max_seq_length": 23, "do_lower_case": False}
        write_json(folder / "sentence_bert_config.json", called)

    return make


def _colbert(folder: Path, spare: Path) -> None:
    """A checkpoint of ColBERT, with its map among BERT's weights."""
    trunk(folder, "bert", "[unused0]", "[unused1]")
    held = load_file(folder / "model.safetensors")
    weights = {f"bert.{name}": tensor for name, tensor in held.items()}
    width = len(held["embeddings.LayerNorm.weight"])
    weights["linear.weight"] = _dense(width, DIM).linear.weight.detach().contiguous()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    edit_json(folder / "config.json", architectures=["HF_ColBERT"])
    told = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 16}
    more = {"doc_maxlen": 24, "mask_punctuation": True, "attend_to_mask_tokens": False, "dim": DIM}
    write_json(folder / "artifact.metadata", {**told, **more, "nway": 32, "similarity": "cosine"})


_FIXED = {"strategy": "fixed", "attend": False, "length": 16}
_LEAST = {"strategy": "min", "attend": True, "length": 14}
_MAKE: Mapping[str, Callable[[Path, Path], None]] = {
    "st-bert": _st("bert", query_expansion=_FIXED, document_length=24),
    "st-modern": _st("modernbert", query_expansion=_LEAST, document_length=40),
    "st-mpnet": _st("mpnet", query_expansion=_FIXED, document_length=24),
    "st-qwen3": _st("qwen3", query_expansion={**_LEAST, "attend": False}),
    "st-roberta": _st("roberta", query_expansion=_FIXED),
    "st-plain": _plain,
    "st-pooled": _pooling,
    "pylate-bert": _pylate("bert"),
    "pylate-modern": _pylate(
        "modernbert", query_length=32, do_query_expansion=None, skiplist_words=None
    ),
    "pylate-unfilled": _pylate("bert", do_query_expansion=False, model_type="ColBERT"),
    "colbert": _colbert,
}
LATE_FAMILIES = tuple(_MAKE)
