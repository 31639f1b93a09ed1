"""Commands without Ray, in this process: what auto chooses for work as small as that of tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest


@contextmanager
def installed() -> Iterator[pytest.MonkeyPatch]:
    """`ray.init` fails. No disk is waited for: no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray.init", _refuse)
        patch.setattr("os.fsync", lambda descriptor: None)
        yield patch


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise AssertionError("An inline test started Ray; tests that need it belong in tests/ray.")
