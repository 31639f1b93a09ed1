"""Models as the library transformers has them, on padded rows: all that packed.py does not know.

Weights come from safetensors only, and nothing is left at random.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel

from shardrank.core.errors import InputError
from shardrank.models.folder.families import HALVES
from shardrank.models.folder.reading import read_object
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.library_log import quiet
from shardrank.models.forward.linear import DTYPES

#: Weights that an encoder may lack, since nothing uses them.
_SPARE = ("pooler.",)


class Padded:
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


class PaddedNetwork(Padded):
    """A model of transformers (protocol: Network)."""

    def hidden(self, batch: Batch) -> Tensor:
        found: Tensor = self._run(batch)[0]
        return found.flatten(0, 1)[cells(batch, self._left)]

    def first(self, batch: Batch) -> Tensor:
        return self.hidden(batch)[batch.ends[:-1]]

    def last(self, batch: Batch) -> Tensor:
        return self.hidden(batch)[batch.ends[1:] - 1]


class PaddedClassifier(Padded):
    """A classifier of transformers (protocol: Classifier)."""

    @property
    def labels(self) -> int:
        return int(self._model.config.num_labels or 0)

    def __call__(self, batch: Batch) -> Tensor:
        if self._scores_last:
            rows, real = pad(batch, self._pad_id, self._left)
            states: Tensor = self._model.base_model(input_ids=rows, attention_mask=real)[0]
            last = states.flatten(0, 1)[cells(batch, self._left)][batch.ends[1:] - 1]
            return self._model.get_submodule("score")(last).float()  # type: ignore[no-any-return]
        return self._run(batch).logits.float()  # type: ignore[no-any-return]

    @property
    def _scores_last(self) -> bool:
        """Whether the logits are the last token's, and the model cannot tell which that is: it
        looks for the last id that is no padding, and has none for padding."""
        return self._model.config.pad_token_id is None and hasattr(self._model, "score")


def pad(batch: Batch, pad_id: int, left: bool) -> tuple[Tensor, Tensor]:
    """int64[b, longest] ids, filled on one side, and as many masks: 1 where ids are real, and
    seen."""
    places = torch.arange(batch.longest, device=batch.ids.device)
    filled = batch.longest - batch.lengths[:, None]
    seen = batch.seen_lengths[:, None]
    real = (places >= filled) & (places < filled + seen) if left else places < seen
    return _spread(batch, batch.ids, pad_id, left), real.long()


def _spread(batch: Batch, flat: Tensor, fill: int, left: bool) -> Tensor:
    """A batch's tokens as padded rows."""
    shape = len(batch.sizes), batch.longest
    rows = torch.full(shape, fill, dtype=flat.dtype, device=flat.device)
    rows.view(-1)[cells(batch, left)] = flat
    return rows


def cells(batch: Batch, left: bool) -> Tensor:
    """int64[t]: each token's cell among rows that are filled on one side."""
    if not left:
        return batch.cells
    filled = batch.longest - batch.lengths
    return batch.cells + filled.repeat_interleave(batch.lengths, output_size=len(batch.ids))


def load_network(
    folder: Path, dtype: str, trust_remote_code: bool, device: torch.device
) -> PaddedNetwork:
    """The encoder of a folder on the device; raises as `load_weights` does."""
    model = load_weights(_encoder_class(folder), folder, dtype, trust_remote_code, _SPARE)
    move(model, device)
    return PaddedNetwork(model, pad_id(model))


def load_classifier(
    folder: Path, dtype: str, trust_remote_code: bool, device: torch.device
) -> PaddedClassifier:
    """The sequence classifier of a folder on the device; raises as `load_weights` does."""
    kind = AutoModelForSequenceClassification
    model = load_weights(kind, folder, dtype, trust_remote_code, ())
    move(model, device)
    return PaddedClassifier(model, pad_id(model))


def _encoder_class(folder: Path) -> Any:
    """The class of transformers that is a folder's encoder: of encoder-decoders, the first half."""
    half = HALVES.get(str(read_object(folder / "config.json").get("model_type")))
    if half is None:
        return AutoModel
    module, _, name = f"transformers.{half.path}".rpartition(".")
    return getattr(import_module(module), name)


def pad_id(model: PreTrainedModel) -> int:
    """The id of padding: the model's own, since some number positions by it, else 0."""
    return getattr(model.config, "pad_token_id", None) or 0


def move(model: PreTrainedModel, device: torch.device) -> None:
    """Move the model's weights."""
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
    with quiet(), _explained(folder):
        model, report = kind.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
        )
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


def encoder_report(folder: Path, trust_remote_code: bool) -> tuple[list[str], list[str]]:
    """The weights that an encoder's files lack, and those that they hold besides; from headers."""
    missing, besides = missing_and_besides(_encoder_class(folder), folder, trust_remote_code)
    return [name for name in missing if not name.startswith(_SPARE)], besides


def classifier_report(folder: Path, trust_remote_code: bool) -> tuple[list[str], list[str]]:
    """As `encoder_report`, for a sequence classifier, whose pooler is no idle part."""
    return missing_and_besides(AutoModelForSequenceClassification, folder, trust_remote_code)


def missing_and_besides(kind: Any, folder: Path, trusted: bool) -> tuple[list[str], list[str]]:
    """The weights that a model's files lack, and those that they hold besides.

    On the device "meta", where tensors have shapes and no memory, the library reads headers.
    """
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
