"""Models as the library transformers has them, on padded rows: all that packed.py does not know.

Weights come from safetensors only, and nothing is left at random.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel

from pipelines.core.errors import InputError
from pipelines.models.batch import Batch
from pipelines.models.folder.layout import Layout
from pipelines.models.folder.limits import pad_id
from pipelines.models.library_log import quiet
from pipelines.models.linear import DTYPES


class _Padded:
    """A model of transformers and how its rows are filled."""

    #: What a model makes of no token types is its own affair: XLNet has no segments then.
    implied_type: int | None = None

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id
        taken = inspect.signature(model.forward).parameters.values()
        self.takes_types = any(
            p.name == "token_type_ids" or p.kind is inspect.Parameter.VAR_KEYWORD for p in taken
        )
        # XLNet's classifier looks at the last column.
        self._left = getattr(model.config, "summary_type", None) == "last"

    def _run(self, batch: Batch) -> Any:
        """The model's output on the batch's rows."""
        rows, real = pad(batch, self._pad_id, self._left)
        typed = {} if batch.types is None else {"token_type_ids": self._types(batch)}
        return self._model(input_ids=rows, attention_mask=real, **typed)

    def _types(self, batch: Batch) -> Tensor:
        assert batch.types is not None
        return _spread(batch, batch.types, 0, self._left)


class PaddedNetwork(_Padded):
    """A model of transformers (protocol: Network)."""

    def hidden(self, batch: Batch) -> Tensor:
        found: Tensor = self._run(batch)[0]
        return found.flatten(0, 1)[_cells(batch, self._left)]

    def first(self, batch: Batch) -> Tensor:
        return self.hidden(batch)[batch.ends[:-1]]


class PaddedClassifier(_Padded):
    """A classifier of transformers (protocol: Classifier)."""

    @property
    def labels(self) -> int:
        return int(self._model.config.num_labels or 0)

    def __call__(self, batch: Batch) -> Tensor:
        return self._run(batch).logits.float()  # type: ignore[no-any-return]


def pad(batch: Batch, pad_id: int, left: bool) -> tuple[Tensor, Tensor]:
    """int64[b, longest] ids, filled on one side, and as many masks: 1 where ids are real."""
    places = torch.arange(batch.longest, device=batch.ids.device)
    filled = batch.longest - batch.lengths[:, None]
    real = places >= filled if left else places < batch.lengths[:, None]
    return _spread(batch, batch.ids, pad_id, left), real.long()


def _spread(batch: Batch, flat: Tensor, fill: int, left: bool) -> Tensor:
    """A batch's tokens as padded rows."""
    shape = len(batch.sizes), batch.longest
    rows = torch.full(shape, fill, dtype=flat.dtype, device=flat.device)
    rows.view(-1)[_cells(batch, left)] = flat
    return rows


def _cells(batch: Batch, left: bool) -> Tensor:
    """int64[t]: each token's cell among rows that are filled on one side."""
    if not left:
        return batch.cells
    filled = batch.longest - batch.lengths
    return batch.cells + filled.repeat_interleave(batch.lengths, output_size=len(batch.ids))


def load_network(
    layout: Layout, dtype: str, trust_remote_code: bool, device: torch.device
) -> PaddedNetwork:
    """The encoder of a folder on the device; raises as `load_weights` does."""
    model = load_weights(AutoModel, layout.transformer, dtype, trust_remote_code)
    model.config.use_cache = False  # a causal model would keep keys and values for nothing
    _move(model, device)
    return PaddedNetwork(model, pad_id(layout.config))


def load_classifier(
    layout: Layout, dtype: str, trust_remote_code: bool, device: torch.device
) -> PaddedClassifier:
    """The sequence classifier of a folder on the device; raises as `load_weights` does."""
    kind = AutoModelForSequenceClassification
    model = load_weights(kind, layout.transformer, dtype, trust_remote_code)
    _move(model, device)
    return PaddedClassifier(model, pad_id(layout.config))


def _move(model: torch.nn.Module, device: torch.device) -> None:
    model.to(device)


def load_weights(kind: Any, folder: Path, dtype: str, trust_remote_code: bool) -> PreTrainedModel:
    """The model of a folder in evaluation mode, on the CPU.

    Args:
        kind: a class with `from_pretrained`, such as transformers.AutoModel.
        folder: with config.json and safetensors weights; nothing is downloaded.
        dtype: "fp32", "bf16" or "fp16": the weights are cast to it.
        trust_remote_code: whether code in the folder may run.

    Raises:
        InputError: the architecture is unknown, or weights that it needs are not in the files.
    """
    with quiet(), _explained(folder):
        model, report = kind.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
        )
    _refuse_random(folder, report)
    return model.eval()  # type: ignore[no-any-return]


def _refuse_random(folder: Path, report: dict[str, Any]) -> None:
    """Weights that the files lack are random after loading; only an unused pooler may be."""
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} weights of its architecture, such as {missing[0]}.",
            "Name a folder whose weights are complete, and whose task is the one asked for.",
        )


def encoder_report(layout: Layout, trust_remote_code: bool) -> tuple[list[str], list[str]]:
    """The weights that an encoder's files lack, and those that they hold besides; from headers."""
    missing, besides = _report(AutoModel, layout.transformer, trust_remote_code)
    return [name for name in missing if not name.startswith("pooler.")], besides


def classifier_report(layout: Layout, trust_remote_code: bool) -> tuple[list[str], list[str]]:
    """As `encoder_report`, for a sequence classifier, whose pooler is no idle part."""
    kind = AutoModelForSequenceClassification
    return _report(kind, layout.transformer, trust_remote_code)


def _report(kind: Any, folder: Path, trusted: bool) -> tuple[list[str], list[str]]:
    """On the device "meta", where tensors have shapes and no memory, the library reads headers."""
    with quiet(), _explained(folder):
        _, report = kind.from_pretrained(
            folder,
            device_map="meta",
            use_safetensors=True,
            trust_remote_code=trusted,
            local_files_only=True,
            output_loading_info=True,
        )
    return sorted(report["missing_keys"]), sorted(report["unexpected_keys"])


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """What the library says of a folder that it cannot load, as an InputError."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder} cannot be loaded: {error}", "Name another model.") from error
