"""Real weights, which `make weights` puts into a cache outside the repository."""

from pathlib import Path

import pytest

from infra.weights.folders import VARIABLE, weights_folder


def real_weights(name: str) -> Path:
    """The folder of a converted model, such as "smollm2"; the test that asks is skipped where it is
    absent.
    """
    folder = weights_folder() / name
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"no {folder}: run make weights, or set {VARIABLE}")
    return folder
