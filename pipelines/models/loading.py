"""Loading weights with transformers: safetensors only, and nothing left at random."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from pipelines.core.errors import InputError, IntegrityError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_Model = TypeVar("_Model", bound=torch.nn.Module)


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
    try:
        with _quiet():
            model, report = kind.from_pretrained(
                folder,
                dtype=_DTYPES[dtype],
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder} cannot be loaded: {error}", "Name another model.") from error
    _refuse_random(folder, report)
    return model.eval()  # type: ignore[no-any-return]


def cast(model: _Model, dtype: str) -> _Model:
    """Cast all weights and buffers to "fp32", "bf16" or "fp16", in place."""
    model.to(_DTYPES[dtype])
    return model


def move(model: torch.nn.Module, device: str) -> torch.device:
    """Move the model, in place, to the device of that name, and return that device."""
    place = torch.device(device)
    model.to(place)
    return place


def check_fingerprint(name: str, expected: str | None, found: str) -> None:
    """Refuse a model that is not the one whose results are stored.

    Raises:
        IntegrityError: the fingerprints differ.
    """
    if expected is not None and expected != found:
        raise IntegrityError(
            f"The model {name!r} has fingerprint {found} on this worker, not {expected}: model "
            "and index do not match.",
            "Give every worker the same model files and settings, or index again.",
        )


def _refuse_random(folder: Path, report: dict[str, Any]) -> None:
    """Weights that the files lack are random after loading; only an unused pooler may be."""
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
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
