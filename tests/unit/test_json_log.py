"""The log as JSON lines."""

import json
from datetime import datetime
from typing import Any

import pytest

from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.jobs import json_log
from shardrank.jobs.json_log import JsonReporter
from shardrank.stages.run.hosts import Failure

NOW = StageNow("embed", 8, 2, 8, 0.0, 600, 1, "broke", 1000.0, 60.0, None, True)


def lines(said: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in said.splitlines()]
    for line in found:
        assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    return found


def test_a_run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_log, "LINE_EVERY", 3600.0)
    with JsonReporter() as log:
        log.noted("A note, “quoted”.")
        log.named("index", "abc")
        log.started("embed", 8, 2)
        log.spent("embed", {"busy:cpu": 1.23456, "tokens": 100})
        log.spent("embed", {"busy:cpu": 1.0})
        log.failed("embed", Failure("u1", "InputError", "broke\nbadly", "", "trace"))
        log.moved(NOW)
        log.finished(NOW)
        log.rejected("embed", {"empty_text": 2})
        log.ended(Outcome("published", 0, "Version 000003 published.", 3, {"dense": 0.97}))
        log.close(["Version 000003 published."])
    told = capfd.readouterr()
    assert told.out == ""
    found = lines(told.err)
    assert found[0] == {"level": "warning", "event": "note", "said": "A note, “quoted”."}
    assert all(line["run"] == "abc" for line in found[1:])
    assert [line["event"] for line in found[1:]] == [
        "run",
        "stage began",
        "unit failed",
        "stage ended",
        "rows set aside",
        "published",
        "summary",
    ]
    ended = found[4]
    assert ended["spent"] == {"busy:cpu": 2.235, "tokens": 100}
    assert (ended["level"], ended["rows"], ended["rows_per_second"]) == ("warning", 600, 10.0)
    assert found[6]["recall"] == {"dense": 0.97}


def test_a_stage_has_a_line_a_minute(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_log, "LINE_EVERY", 0.0)
    log = JsonReporter()
    log.started("embed", 8, 2)
    log.moved(NOW)
    assert [line["event"] for line in lines(capfd.readouterr().err)] == ["stage began", "stage"]
