"""What the command line says without a job, and where a signal ends one."""

import sys

import pytest

from shardrank import __version__
from shardrank.core.event_settings import LogSettings
from shardrank.core.outcomes import TERMINATED, Outcome
from shardrank.core.settings import Settings
from shardrank.jobs import cli
from shardrank.jobs.console import reporter_of
from tests.world import shardrank


def test_which_version_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert shardrank("--version") == 0
    assert capsys.readouterr().out == f"shardrank {__version__}\n"


PUBLISHED = Outcome("published", 0, "Version 000003 published.")
STOPPED = Outcome("stopped", TERMINATED, "Told to stop.")


@pytest.mark.parametrize("format_", ["text", "json"])
@pytest.mark.parametrize(("ended", "code"), [(None, 143), (STOPPED, 143), (PUBLISHED, 0)])
def test_a_signal_after_the_end_changes_no_exit_code(
    format_: str, ended: Outcome | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that comes while hooks are told."""

    def command() -> None:
        log = LogSettings.model_validate({"format": format_})
        with reporter_of(Settings(log=log)) as reporter:
            if ended:
                reporter.ended(ended)
            sys.exit(TERMINATED)

    monkeypatch.setattr(cli, "app", command)
    assert shardrank() == code


def test_a_command_of_two_runs_is_stopped_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def command() -> None:
        with reporter_of(Settings()) as reporter:
            reporter.ended(PUBLISHED)
        sys.exit(TERMINATED)

    monkeypatch.setattr(cli, "app", command)
    assert shardrank() == TERMINATED
