"""What the command line says without a job."""

import pytest

from shardrank import __version__
from tests.world import shardrank


def test_which_version_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert shardrank("--version") == 0
    assert capsys.readouterr().out == f"shardrank {__version__}\n"
