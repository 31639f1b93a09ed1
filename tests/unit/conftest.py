"""Unit tests are pure: they never start Ray, and a busy machine never makes them fail."""

from importlib.util import find_spec
from typing import Any, NoReturn

import pytest
from hypothesis import settings

# A shared machine stalls for longer than any deadline that would find a slow test.
settings.register_profile("shardrank", deadline=None)
settings.load_profile("shardrank")


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise AssertionError("A unit test started Ray; tests that need it belong in tests/ray.")


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `ray.init` fail; where Ray is not installed, there is nothing to guard."""
    if find_spec("ray"):
        monkeypatch.setattr("ray.init", _refuse)
