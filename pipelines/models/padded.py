"""Models as the library transformers has them, on padded rows: all that packed.py does not know.

Weights come from safetensors only, and nothing is left at random.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from pipelines.core.errors import InputError
from pipelines.models.batch import Batch
from pipelines.models.folder.families import HALVES
from pipelines.models.folder.reading import read_object
from pipelines.models.linear import DTYPES


class PaddedNetwork:
    """A model of transformers (protocol: Network)."""

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id

    def hidden(self, batch: Batch) -> Tensor:
        rows, real = pad(batch, self._pad_id)
        found: Tensor = self._model(input_ids=rows, attention_mask=real)[0]
        return found.flatten(0, 1)[batch.cells]

    def first(self, batch: Batch) -> Tensor:
        return self.hidden(batch)[batch.ends[:-1]]


class PaddedClassifier:
    """A classifier of transformers (protocol: Classifier)."""

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id

    @property
    def labels(self) -> int:
        return int(self._model.config.num_labels or 0)

    @property
    def token_types(self) -> int:
        return int(getattr(self._model.config, "type_vocab_size", 0))

    def __call__(self, batch: Batch) -> Tensor:
        rows, real = pad(batch, self._pad_id)
        if self._scores_last:
            states: Tensor = self._model.base_model(input_ids=rows, attention_mask=real)[0]
            last = states.flatten(0, 1)[batch.cells][batch.ends[1:] - 1]
            return self._model.get_submodule("score")(last).float()  # type: ignore[no-any-return]
        typed = {} if batch.types is None else {"token_type_ids": _spread(batch, batch.types, 0)}
        output = self._model(input_ids=rows, attention_mask=real, **typed)
        return output.logits.float()  # type: ignore[no-any-return]

    @property
    def _scores_last(self) -> bool:
        """Whether the logits are the last token's, and the model cannot tell which that is: it
        looks for the last id that is no padding, and has none for padding."""
        return self._model.config.pad_token_id is None and hasattr(self._model, "score")


def pad(batch: Batch, pad_id: int) -> tuple[Tensor, Tensor]:
    """int64[b, longest] ids, filled on the right, and as many masks: 1 where ids are real."""
    places = torch.arange(batch.longest, device=batch.ids.device)
    real = places < batch.lengths[:, None]
    return _spread(batch, batch.ids, pad_id), real.long()


def _spread(batch: Batch, flat: Tensor, fill: int) -> Tensor:
    """A batch's tokens as padded rows."""
    shape = len(batch.sizes), batch.longest
    rows = torch.full(shape, fill, dtype=flat.dtype, device=flat.device)
    rows.view(-1)[batch.cells] = flat
    return rows


def load_network(
    folder: Path, dtype: str, trust_remote_code: bool, device: torch.device
) -> PaddedNetwork:
    """The encoder of a folder on the device; raises as `load_weights` does."""
    model = load_weights(_encoder_class(folder), folder, dtype, trust_remote_code, ("pooler.",))
    _move(model, device)
    return PaddedNetwork(model, _pad_id(model))


def load_classifier(
    folder: Path, dtype: str, trust_remote_code: bool, device: torch.device
) -> PaddedClassifier:
    """The sequence classifier of a folder on the device; raises as `load_weights` does."""
    kind = AutoModelForSequenceClassification
    model = load_weights(kind, folder, dtype, trust_remote_code, ())
    _move(model, device)
    return PaddedClassifier(model, _pad_id(model))


def _encoder_class(folder: Path) -> Any:
    """The class of transformers that is a folder's encoder: of encoder-decoders, the first half."""
    half = HALVES.get(str(read_object(folder / "config.json").get("model_type")))
    if half is None:
        return AutoModel
    module, _, name = f"transformers.{half.path}".rpartition(".")
    return getattr(import_module(module), name)


def _pad_id(model: PreTrainedModel) -> int:
    """The id of padding: the model's own, since some number positions by it, else 0."""
    return getattr(model.config, "pad_token_id", None) or 0


def _move(model: PreTrainedModel, device: torch.device) -> None:
    model.config.use_cache = False  # a causal model would keep keys and values for nothing
    torch.nn.Module.to(model, device)


def load_weights(
    kind: Any, folder: Path, dtype: str, trust_remote_code: bool, spare: tuple[str, ...]
) -> PreTrainedModel:
    """The model of a folder in evaluation mode, on the CPU.

    Args:
        kind: a class with `from_pretrained`, such as transformers.AutoModel.
        folder: with config.json and safetensors weights; nothing is downloaded.
        dtype: "fp32", "bf16" or "fp16": the weights are cast to it.
        trust_remote_code: whether code in the folder may run.
        spare: beginnings of the names of weights that nothing uses, and that files may lack.

    Raises:
        InputError: the architecture is unknown, or weights that it needs are not in the files.
    """
    try:
        with _quiet():
            model, report = kind.from_pretrained(
                folder,
                dtype=DTYPES[dtype],
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder} cannot be loaded: {error}", "Name another model.") from error
    _refuse_random(folder, report, spare)
    return model.eval()  # type: ignore[no-any-return]


def _refuse_random(folder: Path, report: dict[str, Any], spare: tuple[str, ...]) -> None:
    """Weights that the files lack are random after loading."""
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(spare))
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} weights of its architecture, such as {missing[0]}.",
            "Name a folder whose weights are complete, and whose task is the one asked for.",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no report in a worker's log; what matters is raised."""
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
