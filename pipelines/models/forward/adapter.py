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

from shardrank.core.errors import InputError, IntegrityError
from shardrank.models.folder.hashes import weights_sha256
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.packable import bare_name
from shardrank.models.folder.packed_families import FAMILIES
from shardrank.models.folder.weights import SINGLE
from shardrank.models.forward.state import State, read_state

CONFIG = "config.json"
WEIGHTS = "adapter.safetensors"
FORMAT = "shardrank-lora-1"
_BERT = FAMILIES["bert"]


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


def adapter_files(folder: Path) -> list[Path]:
    """The files of an adapter."""
    return [folder / CONFIG, folder / WEIGHTS]


def load_adapter(folder: Path, base: Layout) -> State:
    """Return base weights and adapter as the weights of one cross-encoder, merged in float32.

    ``base`` is the base model, a BERT. Both weight files must be, byte for byte, those the
    configuration names: a low-rank difference applied to other weights gives scores that are wrong
    and look right.
    """
    config = read_adapter_config(folder)
    _verify(
        base.transformer / SINGLE, config.base_sha256, f"Install the package {config.base_package}."
    )
    _verify(folder / WEIGHTS, config.adapter_sha256, "Restore the file, or reinstall shardrank.")
    return merged(read_state(base), load_file(folder / WEIGHTS), config.scale)


def merged(base: State, tensors: dict[str, torch.Tensor], scale: float) -> State:
    """Return the weights with every low-rank difference added and what was trained whole put in."""
    found = dict(base)
    for key, tensor in tensors.items():
        kind, _, name = key.partition(".")
        if kind == "full":
            found[bare_name(name, _BERT)] = tensor.float()
        elif kind == "lora_b":  # [out, rank] @ [rank, in] = [out, in]
            delta = tensor.float() @ tensors[f"lora_a.{name}"].float()
            weight = f"{bare_name(name, _BERT)}.weight"
            found[weight] = base[weight].float() + scale * delta
    return State(found, base.folder)


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
    found = weights_sha256(path)
    if found != expected:
        raise IntegrityError(f"{path} has sha256 {found}, not {expected}.", hint)
