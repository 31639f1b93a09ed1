"""A module of the author's own behind a transformer, run where the settings trust it.

Its class is loaded as sentence-transformers 6.2 loads it (util/misc.py, import_module_class): from
the model's folder, else from an installed package. It takes and gives features by name, as the
library's own modules do.
"""

import inspect
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from pipelines.core.errors import InputError
from pipelines.models.batch import Batch
from pipelines.models.folder.modules import OwnModule
from pipelines.models.network import Network

_VECTOR = "sentence_embedding"


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
        rows = torch.zeros(len(batch.sizes) * batch.longest, hidden.shape[1], device=hidden.device)
        rows[batch.cells] = hidden
        ids = torch.zeros(len(rows), dtype=torch.int64, device=hidden.device)
        ids[batch.cells] = batch.ids
        real = torch.zeros_like(ids)
        real[batch.cells] = 1
        square = (len(batch.sizes), batch.longest)
        return self._vectors(
            {
                "token_embeddings": rows.view(*square, -1),
                "attention_mask": real.view(square),
                "input_ids": ids.view(square),
            }
        )

    def _vectors(self, features: dict[str, Tensor]) -> Tensor:
        found = self._module(features).get(_VECTOR)
        if not isinstance(found, Tensor) or found.ndim != 2:
            raise InputError(
                f"{self._step.reference} gives no {_VECTOR}, one vector a text.",
                "Use a model whose own modules are for one vector a text.",
            )
        return found.float()


def load_own(step: OwnModule, device: torch.device) -> LoadedModule:
    """The module, its weights on the device. Runs the author's code: only where it is trusted.

    Raises:
        InputError: there is no such class, or it cannot be loaded from its folder.
    """
    try:
        module = _loaded(_class(step), step)
    except Exception as error:  # whatever the author's code raises
        raise InputError(
            f"{step.reference} of {step.root} cannot be loaded: {type(error).__name__}: {error}",
            "Install what the model's own code needs, or use another model.",
        ) from error
    return LoadedModule(module.to(device).eval(), step)


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
