"""Commands without Ray, in this process: what auto chooses for work as small as that of tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, NoReturn

import pytest


@contextmanager
def installed() -> Iterator[pytest.MonkeyPatch]:
    """`ray.init` fails. No disk is waited for: no test cuts the power. Reports are written, with
    charts of the right names and nothing in them: to draw them takes as long as the rest of a small
    run, and tests/unit/test_report.py and tests/ray/test_flows.py look at real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray.init", _refuse)
        patch.setattr("os.fsync", lambda descriptor: None)
        patch.setattr("shardrank.report.plots._svg", _undrawn)
        yield patch


def _undrawn(figure: Any, label: str) -> str:
    return f'<svg role="img" aria-label="{escape(label)}"></svg>'


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise AssertionError("An inline test started Ray; tests that need it belong in tests/ray.")
