"""What a command says as JSON, to hooks and to Prometheus, and that no secret is in any of it."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.world import World, make_world, shardrank

HOOK = "import sys, os; open(os.environ['KEPT'], 'a').write(sys.stdin.read() + '\\n')"


@pytest.fixture(scope="module")
def world(models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=60, queries=5)


def test_a_night_is_told(
    world: World,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index, kept, script = tmp_path / "index", tmp_path / "kept", tmp_path / "hook.py"
    script.write_text(HOOK)
    monkeypatch.setenv("KEPT", str(kept))
    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/s3cr3t")
    sets = (
        "log.format=json",
        f"events.command={sys.executable} {script}",
        "events.webhook=HOOK",
        "events.attempts=1",
    )
    assert shardrank(*world.index(index, *sets)) == 0
    out, err = capfd.readouterr()
    lines = [json.loads(line) for line in err.splitlines()]
    assert out == ""
    events = [line["event"] for line in lines]
    assert events[-2:] == ["note", "summary"]  # of the webhook, which nobody serves
    assert "published" in events
    embedded = next(e for e in lines if e["event"] == "stage ended" and e["stage"] == "embed")
    assert embedded["spent"]["tokens"] > embedded["rows"] > 0
    assert embedded["spent"]["busy:cpu"] > 0
    assert sum(line.get("spent", {}).get("written:local", 0) for line in lines) > 1000

    wrong = world.index(index, *sets)
    wrong[1] = str(tmp_path / "absent.jsonl")
    assert shardrank(*wrong) == 2
    err = capfd.readouterr().err
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["failed", "note", "error"]
    assert shardrank(*world.rank(index, index, *sets)) == 2
    capfd.readouterr()
    told = [json.loads(line) for line in kept.read_text().splitlines()]
    ends = [(each["event"], each["version"]) for each in told]
    assert ends == [("published", 1), ("failed", None), ("failed", None)]
    assert told[2]["said"] == f"OUT {index} holds an index."

    assert shardrank("status", str(index), "--prometheus") == 0
    found = dict(re.findall(r"^(\w+)\{.*\} (\S+)$", capfd.readouterr().out, re.MULTILINE))
    assert found["shardrank_version"] == "1"
    assert found["shardrank_run_exit_code"] == "0"
    assert found["shardrank_version_recall_ratio"] == "1"
    for file in [kept, *index.glob("**/*.json")]:
        assert "s3cr3t" not in file.read_text()
