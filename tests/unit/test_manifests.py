"""infra/cluster: manifests that Kubernetes and KubeRay take, and that agree with the forecast."""

import copy
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from shardrank import __version__
from shardrank.core.errors import ShardrankError
from shardrank.flows.options import load_settings
from shardrank.forecast.cluster_time import OBJECT_STORE_SHARE
from shardrank.jobs import cli
from shardrank.jobs.cli import app
from shardrank.jobs.emit import Emission, emit
from shardrank.jobs.forecast import ClusterJob, cluster_of, foretell

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra/cluster"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
EMITTED = [path for path in MANIFESTS if "apiVersion: ray.io" in path.read_text()]
#: KubeRay's own schemas, where this machine has them: a folder beside the checkout.
SCHEMAS = [folder / "shared/data/kuberay" for folder in ROOT.parents]
KUBERNETES = "1.34"
CLUSTER = ClusterJob(1e8, 1e6, 8, 15, 0, 112.0, 1.0, None)
INDEX = ("index", "s3://bucket/corpus/*.jsonl", "s3://bucket/index")
RANK = ("rank", "s3://bucket/index", "s3://bucket/queries.jsonl", "s3://bucket/out")


@cache
def schema(kind: str) -> dict[str, Any]:
    """KubeRay's schema of a kind, in which what it does not know is an error."""
    name = f"ray.io_{kind.lower()}s.yaml"
    for path in (folder / name for folder in SCHEMAS):
        if path.exists():
            crd = yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)
            [version] = [each for each in crd["spec"]["versions"] if each["name"] == "v1"]
            return closed(version["schema"]["openAPIV3Schema"])
    pytest.skip("KubeRay's CRDs (ray-operator/config/crd/bases) lie in no shared/data/kuberay")


def closed(node: Any) -> Any:
    """A schema as the API server reads it: what it does not list is unknown."""
    if isinstance(node, list):
        return [closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {name: closed(each) for name, each in node.items()}
    if found.get("x-kubernetes-int-or-string") is True:
        found.pop("type", None)
    open_ = found.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in found
    if isinstance(found.get("properties"), dict) and found.get("type") == "object" and not open_:
        found["additionalProperties"] = False
    return found


def validate(manifest: dict[str, Any]) -> None:
    """Raises where an API server would not take it."""
    if manifest["apiVersion"].startswith("ray.io/"):
        jsonschema.Draft202012Validator(schema(manifest["kind"])).validate(manifest)
        assert manifest["metadata"].keys() <= {"name", "generateName"}  # in the schema, anything
    else:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.load_all(path.read_text("utf-8"), yaml.CSafeLoader) if each]


def said_by(capsys: pytest.CaptureFixture[str], emission: Emission, job: ClusterJob) -> str:
    settings = load_settings(emission.config, emission.overrides)
    emit(emission, job, settings)
    return capsys.readouterr().out


def job_spec(manifest: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]
    return spec.get("jobTemplate", spec) if manifest["kind"] == "RayCronJob" else spec


def pod_specs(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    cluster = job_spec(manifest)["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_an_api_server_takes_every_manifest(path: Path) -> None:
    for manifest in documents(path):
        validate(manifest)


@pytest.mark.parametrize("path", EMITTED, ids=lambda path: path.stem)
def test_what_kuberay_does_not_know_is_found(path: Path) -> None:
    [manifest] = documents(path)
    validate(manifest)
    for pod in (0, 1):
        wrong = copy.deepcopy(manifest)
        list(pod_specs(wrong))[pod]["containers"][0]["resorces"] = {}
        with pytest.raises(jsonschema.ValidationError, match="resorces"):
            validate(wrong)
    wrong = copy.deepcopy(manifest)
    job_spec(wrong)["backofLimit"] = 1
    with pytest.raises(jsonschema.ValidationError, match="backofLimit"):
        validate(wrong)
    wrong = copy.deepcopy(manifest)
    job_spec(wrong)["rayClusterSpec"]["headGroupSpec"].pop("template")
    with pytest.raises(jsonschema.ValidationError, match="template"):
        validate(wrong)


@pytest.mark.parametrize("path", EMITTED, ids=lambda path: path.stem)
def test_a_manifest_is_what_its_first_lines_say(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = path.read_text("utf-8")
    [line] = re.findall(r"^#   (shardrank plan cluster .*)$", written, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr().out
    assert stop.value.code in (None, 0)
    assert said == written, f"{line} > {path.relative_to(ROOT)}"
    assert f"$ {line}\n" in (ROOT / "docs/kubernetes.md").read_text("utf-8")


def test_a_night_by_kuberay_is_the_same_job() -> None:
    [job], [night] = (documents(FOLDER / f"{name}-index.yaml") for name in ("rayjob", "raycronjob"))
    assert job_spec(night) == job_spec(job)


@pytest.mark.parametrize("gpus", [0, 2])
@pytest.mark.parametrize("command", [INDEX, RANK], ids=["index", "rank"])
@pytest.mark.parametrize("never", [False, True])
def test_pods_hold_what_the_forecast_says(
    command: tuple[str, ...], gpus: int, never: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["encoder.dtype=bf16", *(["cluster.gpu=never"] if never else [])]
    job = ClusterJob(**{**vars(CLUSTER), "gpus": gpus})
    said = said_by(capsys, Emission("rayjob", command, None, None, overrides), job)
    manifest = yaml.safe_load(said)
    validate(manifest)
    settings = load_settings(None, overrides)
    cluster = cluster_of(job, settings)
    [group] = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == cluster.nodes
    [worker] = group["template"]["spec"]["containers"]
    asked, limits = worker["resources"]["requests"], worker["resources"]["limits"]
    on_gpus = gpus > 0 and not never
    assert group["groupName"] == ("gpu" if on_gpus else "cpu")
    assert limits.get("nvidia.com/gpu") == (str(gpus) if on_gpus else None)
    assert worker["image"] == f"shardrank:{__version__}" + ("-gpu" if on_gpus else "")
    assert limits["cpu"] == asked["cpu"] == str(job.cpus)
    assert limits["memory"] == "112G"
    flow = foretell(job, settings).of("index" if command == INDEX else "rank")
    held = max(each.crowd * each.need.memory for each in flow if each.need.runner != "driver")
    free = int(asked["memory"].removesuffix("G")) * 1e9 - OBJECT_STORE_SHARE * cluster.memory_bytes
    assert held <= free <= held + 1e9
    assert all(each.workers <= cluster.nodes * max(job.cpus, gpus) for each in flow)
    head = next(pod_specs(manifest))["containers"][0]["resources"]["limits"]["memory"]
    beside_store = int(head.removesuffix("G")) * 1e9 * (1 - OBJECT_STORE_SHARE)
    assert beside_store > 2e9 + max(each.driver_bytes for each in flow)


def test_the_command_travels_with_its_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "night.toml"
    config.write_text("[search]\nk = 20\n")
    emission = Emission(
        "rayjob", (*RANK, "--overwrite"), "registry/it:1", config, ["encoder.dtype=bf16"]
    )
    manifest = yaml.safe_load(said_by(capsys, emission, CLUSTER))
    validate(manifest)
    words = shlex.split(manifest["spec"]["entrypoint"])
    assert words == [
        *("shardrank", *RANK, "--overwrite", "--config", "/etc/shardrank/night.toml"),
        *("--set", "cluster.max_cpus=120", "--set", "encoder.dtype=bf16"),
    ]
    for pod in pod_specs(manifest):
        [container] = pod["containers"]
        assert container["image"] == "registry/it:1"
        assert {"name": "settings", "mountPath": "/etc/shardrank", "readOnly": True} in container[
            "volumeMounts"
        ]
        assert {"name": "settings", "configMap": {"name": "shardrank-settings"}} in pod["volumes"]


@pytest.mark.parametrize("path", EMITTED, ids=lambda path: path.stem)
def test_a_manifest_runs_a_command_that_there_is(path: Path) -> None:
    [manifest] = documents(path)
    program, name, *arguments = shlex.split(job_spec(manifest)["entrypoint"])
    command: Any = get_command(app)
    command.commands[name].make_context(f"{program} {name}", arguments)


@pytest.mark.parametrize(
    ("command", "job", "message"),
    [
        ((), CLUSTER, "After -- stands nothing"),
        (("label", "a", "b"), CLUSTER, "After -- stands label a b"),
        (("index", "corpus.jsonl", "s3://b/i"), CLUSTER, "CORPUS is corpus.jsonl"),
        ((*RANK, "--qrels", "qrels.tsv"), CLUSTER, "QRELS is qrels.tsv"),
        ((*INDEX, "--set", "search.k=1"), CLUSTER, "A setting stands after --"),
        (("index", "s3://b/$USER", "s3://b/i"), CLUSTER, r"s3://b/\$USER has \$"),
        (("index", "/mnt/*.jsonl", "/mnt/index"), CLUSTER, r"/mnt/\*\.jsonl has \*"),
        (
            INDEX,
            ClusterJob(**{**vars(CLUSTER), "memory": 8.0}),
            r"needs .* GB, and a node has .*\.",
        ),
    ],
)
def test_what_could_not_run_is_not_written(
    command: tuple[str, ...],
    job: ClusterJob,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ShardrankError, match=message) as refused:
        said_by(capsys, Emission("rayjob", command, None, None, ["encoder.dtype=bf16"]), job)
    assert refused.value.exit_code == 2
    assert capsys.readouterr().out == ""


def test_words_reach_the_cluster_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    """Through the submitter's bash, Ray's own joining, and the shell of the head."""
    given = [*INDEX, "--mode", "upsert"]
    settings = ["encoder.query_prompt=query: ", "index.kind=ivfsq8", "encoder.model=a/b@1,2%+"]
    emission = Emission("rayjob", given, None, None, [*settings, "encoder.document_prompt="])
    emit(emission, CLUSTER, load_settings(None, []))
    entrypoint = yaml.safe_load(capsys.readouterr().out)["spec"]["entrypoint"]
    join = shlex.join([sys.executable, "-c", "import subprocess, sys\n" + JOIN])
    joined = subprocess.run(
        ["/bin/bash", "-c", f"{join} {entrypoint}"], check=True, capture_output=True, text=True
    ).stdout
    assert joined.startswith("shardrank ")
    arrived = subprocess.run(
        ["/bin/sh", "-c", f"printf '%s\\n' {joined.removeprefix('shardrank ')}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    told = ["cluster.max_cpus=120", *settings, "encoder.document_prompt="]
    assert arrived.splitlines() == [*given, *(word for each in told for word in ("--set", each))]


JOIN = "print(subprocess.list2cmdline(sys.argv[1:]), end='')"


@pytest.mark.parametrize(("ending", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("STOPPED", 1)])
def test_the_cron_job_waits_and_ends_as_its_night_did(
    ending: str, code: int, tmp_path: Path
) -> None:
    [manifest] = documents(FOLDER / "cronjob.yaml")
    [container] = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    done = "Failed" if ending == "FAILED" else "Complete"
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f"""#!/bin/sh
echo "$1" >> {tmp_path}/asked
case "$1 $*" in
    create*) echo rayjob.ray.io/shardrank-index-x ;;
    *jobDeploymentStatus*) [ -e {tmp_path}/twice ] && echo {done} || {{
        touch {tmp_path}/twice; echo Running; }} ;;
    *message*) echo {ending}: a word ;;
    *jobStatus*) echo {ending} ;;
esac
"""
    )
    kubectl.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "EVERY": "0"}
    ended = subprocess.run(
        [*container["command"], *container["args"]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    assert ended.stdout == f"rayjob.ray.io/shardrank-index-x\n{ending}: a word\n"
    verbs = set((tmp_path / "asked").read_text().split())
    rules = next(each["rules"] for each in documents(FOLDER / "access.yaml") if "rules" in each)
    assert verbs == set(rules[0]["verbs"])


def test_pods_name_what_access_grants() -> None:
    names = {(each["kind"], each["metadata"]["name"]) for each in documents(FOLDER / "access.yaml")}
    [secret] = documents(FOLDER / "s3-secret.yaml")
    for path in EMITTED:
        [manifest] = documents(path)
        for pod in pod_specs(manifest):
            assert ("ServiceAccount", pod["serviceAccountName"]) in names
            assert ("PriorityClass", pod["priorityClassName"]) in names
            [source] = pod["containers"][0]["envFrom"]
            assert source["secretRef"]["name"] == secret["metadata"]["name"]


def test_systemd_tries_again_only_what_may_end_otherwise() -> None:
    unit = (FOLDER / "shardrank-night.service").read_text("utf-8")
    refusals = {error.exit_code for error in errors(ShardrankError)} - {1}
    [prevented] = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert {int(code) for code in prevented.split()} == refusals
    assert "\nRestart=on-failure\n" in unit
    [line] = re.findall(r"^ExecStart=\S*/(shardrank .*)$", unit, re.MULTILINE)
    cron = (FOLDER / "shardrank.cron").read_text("utf-8")
    assert f"{{ {line} > " in cron
    assert "%" not in cron  # cron takes it for the end of a line


@pytest.mark.parametrize(("code", "mailed"), [(0, ""), (3, "the gate refused\n")])
def test_cron_mails_only_a_night_that_failed(code: int, mailed: str, tmp_path: Path) -> None:
    [line] = re.findall(
        r"^0 2 \* \* \* shardrank (.*)$", (FOLDER / "shardrank.cron").read_text(), re.MULTILINE
    )
    program = tmp_path / "shardrank"
    program.write_text(f"#!/bin/sh\necho the gate refused >&2\nexit {code}\n")
    program.chmod(0o755)
    ended = subprocess.run(
        ["/bin/sh", "-c", line.replace("/var/lib/shardrank", str(tmp_path))],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (code, mailed)
    assert (tmp_path / "night.log").read_text() == "the gate refused\n"


def errors(base: type[ShardrankError]) -> Iterator[type[ShardrankError]]:
    for error in base.__subclasses__():
        yield error
        yield from errors(error)


def test_the_image_is_what_the_tests_run_with() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text("utf-8")
    [torch] = re.findall(r"\(PIP\) (torch==\S+)", (ROOT / "Makefile").read_text("utf-8"))
    assert set(re.findall(r"torch==[\d.]+", dockerfile)) == {torch}
    assert f"-t shardrank:{__version__} ." in dockerfile
    ours = (ROOT / "pipelines/stages/run/cluster.py").read_text("utf-8")
    [(name, value)] = re.findall(r'setdefault\("(RAY_idle\w+)", "(\d+)"\)', ours)
    assert f"ENV {name}={value}\n" in dockerfile
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE)
    sent = {name for line in copied for name in line.split()}
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == sent
