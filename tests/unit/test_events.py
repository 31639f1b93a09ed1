"""Hooks of [events]: what they are told, and that their failures change nothing."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from shardrank.core.errors import AuditRefused, InputError, SettingsError
from shardrank.core.event_settings import EventSettings
from shardrank.core.outcomes import Outcome, outcome_of
from shardrank.core.settings import Settings
from shardrank.flows.running import Command, announced
from shardrank.stages.run import events
from shardrank.stages.run.events import Events, Origin
from shardrank.stages.run.reporter import Silent
from shardrank.stages.run.workspace import Workspace
from shardrank.storage.local import LocalStorage

ORIGIN = Origin("index", "/i", "shardrank index c /i", "ann@host")
PUBLISHED = Outcome("published", 0, "Version 000003 published.", 3, {"dense": 0.97}, {"rows": 9})
SECRET = "s3cr3t"


@contextmanager
def server(*codes: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Answers with these codes, one after another, and keeps what it was sent."""
    kept: list[dict[str, Any]] = []
    left = [*codes]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.append(json.loads(body))
            self.send_response(left.pop(0))
            self.end_headers()

        def log_message(self, *words: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_port}/hooks/{SECRET}", kept
        finally:
            made.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAUSE", 0.001)


def tell(settings: EventSettings, outcome: Outcome = PUBLISHED) -> list[str]:
    """What is noted."""
    noted: list[str] = []
    told = Events(settings, ORIGIN, noted.append)
    told.named("index", "abc")
    told.ended(outcome)
    told.tell()
    return noted


def test_a_webhook_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(204) as (url, kept):
        monkeypatch.setenv("HOOK", url)
        assert tell(EventSettings(webhook="HOOK")) == []
    (told,) = kept
    assert told.pop("time")[:2] == "20"
    assert told == {
        "event": "published",
        "run": "abc",
        "flow": "index",
        "path": "/i",
        "command": "shardrank index c /i",
        "by": "ann@host",
        "exit_code": 0,
        "said": "Version 000003 published.",
        "version": 3,
        "recall": {"dense": 0.97},
        "counts": {"rows": 9},
    }


def test_it_is_told_again_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(503, 200) as (url, kept):
        monkeypatch.setenv("HOOK", url)
        assert tell(EventSettings(webhook="HOOK")) == []
    assert len(kept) == 2


def test_a_webhook_that_fails_is_a_note_without_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(404, 404) as (url, _):
        monkeypatch.setenv("HOOK", url)
        (said,) = tell(EventSettings(webhook="HOOK", attempts=2))
    assert said == "The webhook was not told how the run ended: it answered 404."
    (gone,) = tell(EventSettings(webhook="HOOK", attempts=1))
    assert "ConnectionRefusedError" in gone
    for wrong in (
        f"ftp://h/{SECRET}",
        f"http://h/a b{SECRET}",
        f"http://[{SECRET}",
        f"http://h:{SECRET}/",
    ):
        monkeypatch.setenv("HOOK", wrong)
        (said,) = tell(EventSettings(webhook="HOOK", attempts=1))
        assert SECRET not in said


def test_only_wanted_endings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(200) as (url, kept):
        monkeypatch.setenv("HOOK", url)
        tell(EventSettings(webhook="HOOK"), Outcome("unchanged", 0, ""))
        tell(EventSettings(webhook="HOOK", on="refused"))  # type: ignore[arg-type]
        refused = outcome_of(AuditRefused("Too low.", "", {"dense": 0.9}))
        tell(EventSettings(webhook="HOOK", on="refused, failed"), refused)  # type: ignore[arg-type]
    assert [(e["event"], e["exit_code"], e["recall"]) for e in kept] == [
        ("refused", 3, {"dense": 0.9})
    ]


def test_a_command_is_told_on_its_standard_input(tmp_path: Path) -> None:
    script = tmp_path / "hook.py"
    script.write_text("import sys; open(sys.argv[1], 'w').write(sys.stdin.read())")
    kept = tmp_path / "a file"
    assert tell(EventSettings(command=f"{sys.executable} {script} '{kept}'")) == []
    assert json.loads(kept.read_text())["version"] == 3


def test_a_command_that_fails_is_a_note() -> None:
    assert "exit code 1" in tell(EventSettings(command="false", attempts=1))[0]
    assert "No such file" in tell(EventSettings(command="/no/such", attempts=1))[0]
    (slow,) = tell(EventSettings(command="sleep 5", attempts=1, timeout=0.05))
    assert slow.endswith("it did not end within 0.05 s.")


def test_a_url_is_no_setting() -> None:
    with pytest.raises(SettingsError, match="no name of an environment variable") as refused:
        EventSettings(webhook=f"https://h/{SECRET}")
    assert SECRET not in str(refused.value)
    with pytest.raises(SettingsError, match="names no program"):
        EventSettings(command=" ")


def fail(command: Command, settings: Settings, reporter: Silent) -> None:
    with announced(command, settings, reporter) as told:
        error = InputError("No file.")
        told.ended(outcome_of(error))
        raise error


def test_what_fails_before_a_run_begins_is_told_too_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[Outcome] = []

    class Told(Silent):
        def ended(self, outcome: Outcome) -> None:
            ends.append(outcome)

    command = Command("index", "shardrank index", Workspace(LocalStorage(str(tmp_path))))
    with server(200) as (url, kept):
        monkeypatch.setenv("HOOK", url)
        settings = Settings(events=EventSettings(webhook="HOOK"))
        with pytest.raises(InputError):
            fail(command, settings, Told())
    assert [end.said for end in ends] == ["No file."]
    assert [(e["event"], e["run"], e["path"]) for e in kept] == [("failed", None, str(tmp_path))]


STOPPED = Outcome("stopped", 143, "Told to stop.")


def test_of_a_stop_both_are_told_once_and_in_a_hurry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, noted = tmp_path / "kept", list[str]()
    with server(503, 200) as (url, posted):
        monkeypatch.setenv("HOOK", url)
        settings = EventSettings(on=("stopped",), webhook="HOOK", command=f"tee {kept}")
        told = Events(settings, ORIGIN, noted.append)
        told.ended(STOPPED)
        told.tell()  # at the end of the command: nobody is left to be told
    assert [each["event"] for each in posted] == ["stopped"]
    assert json.loads(kept.read_text())["exit_code"] == 143
    assert noted == ["The webhook was not told how the run ended: it answered 503."]


def test_a_stop_waits_for_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HURRY", 0.2)
    monkeypatch.setenv("HOOK", "http://h/")
    monkeypatch.setattr(events, "post", lambda *_: time.sleep(3))  # such as a name that is sought
    began = time.monotonic()
    both = EventSettings(on=("stopped",), webhook="HOOK", command="sleep 5")
    noted = tell(both, STOPPED)
    assert time.monotonic() - began < 2
    assert noted[0] == "The webhook was not told how the run ended: it took over 0.2 s."
    assert len(noted) == 2


def test_hooks_are_told_when_nothing_is_held_any_more(tmp_path: Path) -> None:
    kept, workspace = tmp_path / "kept", Workspace(LocalStorage(str(tmp_path)))
    settings = Settings(events=EventSettings(command=f"tee {kept}"))
    command = Command("index", "shardrank index", workspace)
    with announced(command, settings, Silent()) as told:
        told.ended(PUBLISHED)
        assert not kept.exists()
    assert json.loads(kept.read_text())["event"] == "published"


def publish_and_stop(command: Command, settings: Settings) -> None:
    with announced(command, settings, Silent()) as told:
        told.ended(PUBLISHED)
        sys.exit(143)


def test_a_stop_after_the_end_changes_not_what_is_told(tmp_path: Path) -> None:
    """Such as while Ray ends."""
    kept, workspace = tmp_path / "kept", Workspace(LocalStorage(str(tmp_path)))
    settings = Settings(events=EventSettings(command=f"tee {kept}"))
    command = Command("index", "shardrank index", workspace)
    with pytest.raises(SystemExit):
        publish_and_stop(command, settings)
    assert json.loads(kept.read_text())["event"] == "published"
