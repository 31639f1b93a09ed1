"""The dashboard and the alerts: names that the code exports, and Prometheus' own checks."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shardrank.jobs.prometheus import HELP
from shardrank.stages.run.metrics import KINDS

FOLDER = Path(__file__).parents[2] / "infra" / "grafana"
#: Names that the files give, and those that Ray does: it puts its own before ours.
EXPORTED = HELP.keys() | {f"ray_{kind.name}" for kind in KINDS}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return found


def expressions() -> list[str]:
    """Of the dashboard's panels, with its variables filled in."""
    targets = (t for panel in dashboard()["panels"] for t in panel.get("targets", []))
    return [t["expr"].replace("$__rate_interval", "5m").replace("$", "") for t in targets]


def promtool(*words: str, text: str | None = None) -> str:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is absent: apt-get install prometheus")
    command = ["promtool", *words]
    done = subprocess.run(
        command, cwd=FOLDER, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_name_is_exported() -> None:
    texts = [*expressions(), (FOLDER / "alerts.yml").read_text(), json.dumps(dashboard())]
    used = {name for text in texts for name in re.findall(r"(?:ray_)?shardrank_\w+", text)}
    assert used <= EXPORTED
    # What nobody looks at need not be exported; these are for whoever looks closer.
    assert {name for name in EXPORTED - used if not name.endswith("_total")} <= {
        "ray_shardrank_recall_ratio",
        "ray_shardrank_version",
        "shardrank_run_began_timestamp_seconds",
        "shardrank_run_stage_left_seconds",
        "shardrank_run_told_timestamp_seconds",
        "shardrank_run_units",
        "shardrank_version_passages",
        "shardrank_version_recall_ratio",
        "shardrank_version_rejected_rows",
        "shardrank_version_rows",
    }


def test_labels_are_those_that_metrics_have() -> None:
    known = {"path", "flow", "ending", "column", "state"}.union(*(kind.tags for kind in KINDS))
    texts = [*expressions(), (FOLDER / "alerts.yml").read_text()]
    asked = {name for text in texts for name in re.findall(r"(\w+)=~?\"", text)}
    asked |= {name for text in texts for name in re.findall(r"\$labels\.(\w+)", text)}
    assert asked <= known


def test_panels_are_apart() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_prometheus_takes_the_alerts() -> None:
    assert "9 rules found" in promtool("check", "rules", "alerts.yml")


def test_the_alerts_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")


def test_prometheus_takes_the_dashboards_expressions(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(expressions())]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # YAML, too
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))
