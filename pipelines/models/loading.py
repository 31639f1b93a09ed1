"""Loading weights with transformers: safetensors only, and nothing left at random."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from pipelines.core.errors import InputError, IntegrityError

#: Types of a forward pass, by their names in the settings.
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
                dtype=DTYPES[dtype],
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder} cannot be loaded: {error}", "Name another model.") from error
    _refuse_random(folder, report)
    return model.eval()  # type: ignore[no-any-return]


def read_config(folder: Path, trust_remote_code: bool) -> PreTrainedConfig:
    """The configuration in a model's folder; nothing is downloaded."""
    found: PreTrainedConfig = AutoConfig.from_pretrained(
        folder, trust_remote_code=trust_remote_code, local_files_only=True
    )
    return found


def move(model: torch.nn.Module, device: torch.device) -> None:
    """Move the model to the device, in place."""
    model.to(device)


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
