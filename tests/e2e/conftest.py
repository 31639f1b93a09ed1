"""Whole flows. Most run inline, without Ray (tests/inline.py); the killed ones in processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inline import installed
from tests.world import tiny_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def inline() -> Iterator[pytest.MonkeyPatch]:
    """Every stage of this module runs in this process."""
    with installed() as patch:
        yield patch
