"""shardrank plan cluster --emit: the forecast's cluster as a manifest for KubeRay."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined

from shardrank import __version__
from shardrank.core.errors import InputError
from shardrank.core.settings import Settings
from shardrank.forecast.cluster_time import Flow, Forecast
from shardrank.forecast.pods import Pods, pods
from shardrank.jobs.arguments import parse, refuse_unseen
from shardrank.jobs.forecast import ClusterJob, cluster_of, foretell
from shardrank.report.figures import coarse

Kind = Literal["rayjob", "raycronjob"]

#: How clouds call their spot nodes: label, and taint. Google, Amazon, Karpenter, Azure.
SPOT = {
    "cloud.google.com/gke-spot": "true",
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
}

#: Where the pods find the settings file.
SETTINGS_FOLDER = "/etc/shardrank"

#: KubeRay hands the command to two shells, one after the other. Between them Ray before 2.56 quotes
#: nothing but blanks, so these would not arrive; later ones quote as a shell does.
LOST = set("$`\\'\"!&|;<>(){}#~\n")
#: Nor would these arrive as they are, if they fit files of the head: on S3 they cannot.
PATTERN = set("*?[")


@dataclass(frozen=True)
class Emission:
    """What is asked for: a kind of manifest, and the command that the cluster is to run."""

    kind: Kind
    command: Sequence[str]
    image: str | None
    config: Path | None
    overrides: Sequence[str]


def emit(what: Emission, job: ClusterJob, settings: Settings) -> None:
    """Print the manifest and nothing else. Raises what cannot run, or would not fit."""
    flow = _flow(what.command)
    _refuse_arguments(what.command)
    found = foretell(job, settings)
    asked = pods(flow, found, cluster_of(job, settings))
    sys.stdout.write(_manifest(what, flow, found, asked))


def _flow(command: Sequence[str]) -> Flow:
    flows: tuple[Flow, ...] = get_args(Flow)
    for flow in flows:
        if command and command[0] == flow:
            return flow
    raise InputError(
        f"After -- stands {shlex.join(command) or 'nothing'}.",
        "Give the command that the cluster is to run: -- index s3://… s3://…, or -- rank …",
    )


def _refuse_arguments(command: Sequence[str]) -> None:
    """Raises what click raises where the command itself would not take them."""
    given = parse(command)
    if given["config"] or given["overrides"]:
        raise InputError(
            "A setting stands after --, where the forecast does not see it.",
            "Give --config and --set before --: they travel with the command.",
        )
    refuse_unseen(given)


def _manifest(what: Emission, flow: Flow, found: Forecast, asked: Pods) -> str:
    environment = Environment(
        loader=PackageLoader("shardrank.jobs", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("rayjob.yaml.j2").render(
        kind=what.kind,
        flow=flow,
        line=shlex.join(["shardrank", *sys.argv[1:]]),
        duration=coarse(found.seconds(flow)),
        entrypoint=_entrypoint(what, asked),
        settings_file=what.config.name if what.config else None,
        image=what.image or f"shardrank:{__version__}{'-gpu' if asked.gpus else ''}",
        ray=version("ray"),
        pods=asked,
        gpu=f', nvidia.com/gpu: "{asked.gpus}"' if asked.gpus else "",
        spot=SPOT,
    )


def _entrypoint(what: Emission, asked: Pods) -> str:
    """The command with the settings that the forecast was made with. It may begin before all
    workers stand, so it is told what they will have."""
    given = ["--config", f"{SETTINGS_FOLDER}/{what.config.name}"] if what.config else []
    most = [f"cluster.max_cpus={asked.workers * asked.cpus}"]
    if asked.gpus:
        most.append(f"cluster.max_gpus={asked.workers * asked.gpus}")
    for override in (*most, *what.overrides):
        given += ["--set", override]
    words = ["shardrank", *what.command, *given]
    for word in words:
        if lost := set(word) & (LOST if "://" in word else LOST | PATTERN):
            raise InputError(
                f"{word} has {' '.join(sorted(lost))}, which does not reach the cluster.",
                "Put a setting in a TOML file: --config.",
            )
    return shlex.join(words)
