"""Small sparse encoders of classes that are no part of a library, as their authors save them, and
what plain loops over transformers' BERT make of them.

unicoil: pyserini's UniCoilEncoder. tilde: ielab/TILDE's TILDEv2. vdr: jzhoubu/VDR's Retriever, of
two encoders; vdr-shared: of one; vdr-encoder: one alone, that keeps all terms.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import elu, layer_norm
from transformers import AutoTokenizer, BertConfig, BertModel

from shardrank.core.arrays import Float32
from tests.family_models import tiny_config
from tests.tiny_models import edit_json, save, tiny_tokeniser, write_json

WEIGHTS = "model.safetensors"
OWN_TERM_FAMILIES = ("unicoil", "tilde", "vdr", "vdr-shared", "vdr-encoder")

#: Terms below this have no weight in a VDR; terms kept of passages and queries; their tokens.
SHIFT, TOPS, LENGTHS = 5, (9, 7), (50, 40)
#: TILDEv2's stop words in the vocabulary of tiny models, where most words are spelt by letters.
STOPS = frozenset("a d i m o s t y is does ##s".split())  # noqa: SIM905


def own_term_model(folder: Path, family: str) -> Path:
    """Save a random model of the family into `folder`; equal arguments, equal files."""
    make = {"unicoil": _unicoil, "tilde": _tilde, "vdr": _vdr, "vdr-shared": _vdr_shared}
    make.get(family, _vdr_encoder)(folder)
    return folder


def _bert(seed: int, pooler: bool = False) -> BertModel:
    """Random, with word embeddings that lie far apart."""
    torch.manual_seed(seed)
    config = tiny_config("bert")
    config.vocab_size, config.pad_token_id = tiny_tokeniser().get_vocab_size(), 0
    model = BertModel(config, add_pooling_layer=pooler).eval().float()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        model.embeddings.word_embeddings.weight.mul_(4)
    return model


def _written(folder: Path, model: BertModel, weights: Mapping[str, torch.Tensor]) -> None:
    save(folder, model, tiny_tokeniser())
    apart = {name: weight.clone().contiguous() for name, weight in weights.items()}
    save_file(apart, folder / WEIGHTS, {"format": "pt"})


def _prefixed(model: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: weight for name, weight in model.state_dict().items()}


def _unicoil(folder: Path) -> None:
    """With the prefix that transformers leaves out when it loads them."""
    _own(folder, "UniCoilEncoder", "coil_encoder.")


def _tilde(folder: Path) -> None:
    _own(folder, "TILDEv2", "")


def _own(folder: Path, architecture: str, prefix: str) -> None:
    model = _bert(5, pooler=True)
    projection = torch.nn.Linear(model.config.hidden_size, 1)
    weights = _prefixed(model, f"{prefix}bert.")
    _written(folder, model, weights | _prefixed(projection, f"{prefix}tok_proj."))
    edit_json(folder / "config.json", architectures=[architecture])


def _norm(seed: int, width: int) -> torch.nn.LayerNorm:
    torch.manual_seed(seed)
    norm = torch.nn.LayerNorm(width)
    with torch.no_grad():
        norm.weight.add_(0.2 * torch.randn(width))
        norm.bias.add_(0.2 * torch.randn(width))
    return norm


def _side(model: BertModel, number: int) -> dict[str, Any]:
    """As conf/biencoder/vdr.yaml has it, with the shape of a small model."""
    config = model.config.to_dict()
    shape = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
             "intermediate_size", "max_position_embeddings", "type_vocab_size")  # fmt: skip
    own = {"type": "vdr", "model_id": "tiny", "max_len": LENGTHS[number], "norm": False}
    own |= {"shift_vocab_num": SHIFT, "topk": TOPS[number], "pooling": "max", "pooling_topk": None}
    return own | {name: config[name] for name in shape}


def _space(seed: int, prefix: str) -> tuple[BertModel, dict[str, torch.Tensor]]:
    model = _bert(seed)
    norm = _norm(seed, model.config.hidden_size)
    weights = _prefixed(model, f"{prefix}bert_model.") | _prefixed(norm, f"{prefix}ln.")
    return model, weights


def _vdr(folder: Path) -> None:
    _, queries = _space(6, "encoder_q.")
    model, passages = _space(7, "encoder_p.")
    _written(folder, model, queries | passages)
    _retriever(folder, model, shared=False)


def _vdr_shared(folder: Path) -> None:
    model, weights = _space(6, "encoder_p.")
    _written(folder, model, weights)
    _retriever(folder, model, shared=True)


def _retriever(folder: Path, model: BertModel, shared: bool) -> None:
    sides = {"encoder_p": _side(model, 0), "encoder_q": _side(model, 1)}
    told = {"architectures": ["Retriever"], "shared_encoder": shared, "device": None, **sides}
    write_json(folder / "config.json", told)


def _vdr_encoder(folder: Path) -> None:
    model, weights = _space(6, "")
    _written(folder, model, weights)
    edit_json(
        folder / "config.json", architectures=["VDREncoder"], **{**_side(model, 0), "topk": -1}
    )


class PlainReference:
    """What the authors' formulas make of a text, text by text, of a folder made here."""

    def __init__(self, folder: Path, family: str) -> None:
        self._tokeniser = AutoTokenizer.from_pretrained(folder)
        self._held, self._family = load_file(folder / WEIGHTS), family
        self._config = json.loads((folder / "config.json").read_text())
        self.longest: int | None = None

    def encode_document(self, texts: Sequence[str], max_active_dims: int | None = None) -> Float32:
        """float32[n, vocabulary]; of each the strongest terms, of two alike the lower one."""
        found = np.stack([self._document(text) for text in texts])
        if max_active_dims is not None:
            order = np.argsort(-found, axis=1, kind="stable")
            np.put_along_axis(found, order[:, max_active_dims:], 0, axis=1)
        return found

    def encode_query(self, texts: Sequence[str]) -> Float32:
        return np.stack([self._query(text) for text in texts])

    def _document(self, text: str) -> Float32:
        if self._family.startswith("vdr"):
            return self._similar(text, 0)
        return self._own(text, max)

    def _query(self, text: str) -> Float32:
        if self._family.startswith("vdr"):
            return self._similar(text, 1)
        if self._family == "unicoil":
            return self._own(text, sum)
        found = np.zeros(self._terms, np.float32)
        for token in self._ids(text, None)[1:-1]:
            found[token] += not self._left_out(token)
        return found

    @property
    def _terms(self) -> int:
        return tiny_tokeniser().get_vocab_size()

    def _ids(self, text: str, longest: int | None) -> list[int]:
        most = self.longest or longest or self._tokeniser.model_max_length
        found: list[int] = self._tokeniser(text, truncation=True, max_length=most)["input_ids"]
        return found

    def _own(self, text: str, fold: Callable[[list[float]], float]) -> Float32:
        """tok_proj, at each place that is not a special token's."""
        ids = self._ids(text, None)
        prefix = "coil_encoder." if self._family == "unicoil" else ""
        states = self._states(ids, f"{prefix}bert.", self._config, pooler=True)
        weight, bias = (self._held[f"{prefix}tok_proj.{kind}"] for kind in ("weight", "bias"))
        weights = (states @ weight.T + bias).relu().squeeze(1).tolist()
        places: dict[int, list[float]] = {}
        for token, value in list(zip(ids, weights, strict=True))[1:-1]:
            places.setdefault(token, []).append(value)
        found = np.zeros(self._terms, np.float32)
        for token, values in places.items():
            found[token] = 0 if self._left_out(token) else fold(values)
        return found

    def _left_out(self, token: int) -> bool:
        spelt = self._tokeniser.convert_ids_to_tokens(token)
        sign = not re.match("^(##.*|[A-Za-z0-9_-]*)$", spelt)
        return self._family == "tilde" and (sign or spelt in STOPS)

    def _similar(self, text: str, number: int) -> Float32:
        side, prefix, config = self._space(number)
        ids = self._ids(text, side["max_len"])
        states = self._states(ids, f"{prefix}bert_model.", config, pooler=False)
        norm = (self._held[f"{prefix}ln.{kind}"] for kind in ("weight", "bias"))
        states = layer_norm(states, states.shape[1:], *norm)
        words = self._held[f"{prefix}bert_model.embeddings.word_embeddings.weight"][SHIFT:]
        dense = (elu(states @ words.T) + 1).amax(0)
        mask = torch.ones_like(dense, dtype=torch.bool)
        if side["topk"] > 0:
            mask[dense.argsort(descending=True)[side["topk"] :]] = False
            mask[[token - SHIFT for token in ids if token >= SHIFT]] = True
        return np.concatenate([np.zeros(SHIFT, np.float32), (dense * mask).numpy()])

    def _space(self, number: int) -> tuple[dict[str, Any], str, dict[str, Any]]:
        """A side's settings, what begins its weights' names, and its shape."""
        if self._family == "vdr-encoder":
            return self._config, "", self._config
        if self._family == "vdr-shared":
            both = {**self._config["encoder_q"], "max_len": max(LENGTHS)}
            return both, "encoder_p.", both
        name = ("encoder_p", "encoder_q")[number]
        return self._config[name], f"{name}.", self._config[name]

    @torch.inference_mode()
    def _states(
        self, ids: list[int], prefix: str, config: dict[str, Any], pooler: bool
    ) -> torch.Tensor:
        shape = {name: value for name, value in config.items() if name in BertConfig().to_dict()}
        model = BertModel(BertConfig(**shape), add_pooling_layer=pooler).eval()
        mine = {n.removeprefix(prefix): w for n, w in self._held.items() if n.startswith(prefix)}
        model.load_state_dict(mine)
        found: torch.Tensor = model(torch.tensor([ids])).last_hidden_state[0]
        return found
