"""Modules of an author's own, in a transformer's place or behind it, run where they are trusted.

Its class is loaded as sentence-transformers 6.2 loads it (util/misc.py, import_module_class): from
the model's folder, else from an installed package. It takes and gives features by name, as the
library's own modules do.
"""

import inspect
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from shardrank.core.errors import InputError
from shardrank.models.folder.modules import OwnModule
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.network import Network
from shardrank.models.text.tokens import FastTokeniser

_VECTOR = "sentence_embedding"
_PROBES = ("a", "The quick brown fox, 0123456789.")
#: What a module may make of a text: others would be lost, since only tokens are stored.
_TEXT = frozenset({"input_ids", "attention_mask", "token_type_ids", "modality", "prompt_length"})


class LoadedModule:
    """An author's module on a device: a step over vectors, or a pooling over a batch's states."""

    def __init__(self, module: Any, step: OwnModule) -> None:
        self._module, self._step = module, step

    @property
    def width(self) -> int:
        """Components of its vectors, as it says. Raises InputError where it does not."""
        for name in ("get_embedding_dimension", "get_sentence_embedding_dimension"):
            if hasattr(self._module, name):
                return int(getattr(self._module, name)())
        raise InputError(
            f"{self._step.reference} does not say how wide its vectors are: it has no "
            "get_embedding_dimension.",
            "Add the method to the model's module.",
        )

    def __call__(self, vectors: Tensor) -> Tensor:
        """float32[n, d] → float32[n, m]."""
        return self._vectors({_VECTOR: vectors})

    def pool(self, network: Network, batch: Batch) -> Tensor:
        """A batch's vectors, float32[b, m], of its hidden states filled up on the right."""
        hidden = network.hidden(batch).float()
        return self._vectors({"token_embeddings": _square(batch, hidden), **_inputs(batch)})

    def _vectors(self, features: dict[str, Tensor]) -> Tensor:
        found = self._module(features).get(_VECTOR)
        if not isinstance(found, Tensor) or found.ndim != 2:
            raise InputError(
                f"{self._step.reference} gives no {_VECTOR}, one vector a text.",
                "Use a model whose own modules are for one vector a text.",
            )
        return found.float()


class OwnNetwork:
    """An author's module in a transformer's place (protocol: Network); it is told no types."""

    takes_types = False
    implied_type: int | None = None

    def __init__(self, module: Any, step: OwnModule) -> None:
        self._module, self._step = module, step

    def hidden(self, batch: Batch) -> Tensor:
        found = self._module(_inputs(batch)).get("token_embeddings")
        if not isinstance(found, Tensor) or found.shape[:2] != (len(batch.sizes), batch.longest):
            raise InputError(
                f"{self._step.reference} gives no token_embeddings, one vector a token.",
                "Use a model whose own modules are for text alone.",
            )
        return found.flatten(0, 1)[batch.cells]

    def first(self, batch: Batch) -> Tensor:
        return self.hidden(batch)[batch.ends[:-1]]

    def last(self, batch: Batch) -> Tensor:
        return self.hidden(batch)[batch.ends[1:] - 1]


def load_body(step: OwnModule, tokeniser: FastTokeniser, device: torch.device) -> OwnNetwork:
    """An author's module in a transformer's place, on the device. Runs the author's code.

    Raises:
        InputError: as `load_own`, or it makes other tokens of texts than the folder's tokeniser,
            which is what documents are stored by.
    """
    module = _module(step)
    read = module.preprocess if hasattr(module, "preprocess") else module.tokenize
    template = tokeniser.single_template()
    for text, spans in zip(_PROBES, tokeniser.encode(_PROBES), strict=True):
        theirs = read([text])
        same = theirs["input_ids"][0].tolist() == template.ids(spans.ids).tolist()
        if not same or set(theirs) - _TEXT:
            raise InputError(
                f"{step.reference} reads {text!r} in a way of its own ({', '.join(theirs)}), and "
                "documents are stored as the tokens of the folder's tokeniser.",
                "Use another model.",
            )
    return OwnNetwork(module.to(device).eval(), step)


def load_own(step: OwnModule, device: torch.device) -> LoadedModule:
    """The module, its weights on the device. Runs the author's code: only where it is trusted.

    Raises:
        InputError: there is no such class, or it cannot be loaded from its folder.
    """
    return LoadedModule(_module(step).to(device).eval(), step)


def _module(step: OwnModule) -> Any:
    try:
        return _loaded(_class(step), step)
    except Exception as error:  # whatever the author's code raises
        raise InputError(
            f"{step.reference} of {step.root} cannot be loaded: {type(error).__name__}: {error}",
            "Install what the model's own code needs, or use another model.",
        ) from error


def _class(step: OwnModule) -> Any:
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    try:
        return get_class_from_dynamic_module(step.reference, str(step.root), local_files_only=True)
    except (OSError, ValueError):  # no such file in the folder: then an installed package's
        package, _, name = step.reference.rpartition(".")
        return getattr(import_module(package), name)


def _loaded(kind: Any, step: OwnModule) -> Any:
    """By the library's two ways: a path alone, or the model and a folder in it."""
    if len(inspect.signature(kind.load).parameters) == 1:
        return kind.load(str(step.folder))
    below = str(step.folder.relative_to(step.root))
    return kind.load(str(step.root), subfolder=below, local_files_only=True)


def _inputs(batch: Batch) -> dict[str, Tensor]:
    """A batch as the library's modules take it: rows filled up on the right."""
    real = torch.ones_like(batch.ids)
    return {"input_ids": _square(batch, batch.ids), "attention_mask": _square(batch, real)}


def _square(batch: Batch, flat: Tensor) -> Tensor:
    """[t, …] → [b, longest, …], zero where there is no token."""
    shape = (len(batch.sizes) * batch.longest, *flat.shape[1:])
    rows = torch.zeros(shape, dtype=flat.dtype, device=flat.device)
    rows[batch.cells] = flat
    return rows.view(len(batch.sizes), batch.longest, *flat.shape[1:])
