"""shardrank submit: a command as a job on a Ray cluster, by the cluster's job server."""

import os
import re
import shlex
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shardrank.core.errors import CommitConflict, InputError, RunFailed, SettingsError
from shardrank.core.outcomes import INTERRUPTED, TERMINATED
from shardrank.core.times import clock
from shardrank.flows.options import load_settings
from shardrank.jobs.arguments import parse, refuse_unseen, renamed
from shardrank.jobs.console import console, error_console
from shardrank.jobs.job_log import JobLog
from shardrank.jobs.job_server import JobServer, Unknown, connect, server_address
from shardrank.jobs.luggage import Luggage, pack

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

#: Seconds between two looks at a job.
LOOK_EVERY = 2.0
#: Seconds between two lines on a job whose log says nothing, or is not shown.
TELL_EVERY = 60.0
#: A shell's code for a command that it does not find.
NOT_FOUND = 127
#: The exit codes of a command that did not end well (docs/files.md).
OURS = (1, 2, 3, 4, INTERRUPTED, TERMINATED)

_SECRET = re.compile(
    r"SECRET|PASSW|PASSPHRASE|PRIVATE|CREDENTIAL"
    r"|(KEY|PASS|PWD|TOKEN|AUTH|HOOK|CRED|COOKIE|DSN|JWT)S?(?![A-Z])",
    re.IGNORECASE,
)
#: A URL with a password in it, such as that of a proxy.
_WITH_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_OVER = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True)
class SubmitJob:
    """The command's arguments.

    Attributes:
        words: the command to run there, without `shardrank`.
        address: of the job server; None: by the environment, else this machine's.
        name: of the job; None: one is made up.
        working_dir: the folder whose files travel.
        env: NAME=VALUE, or NAME for that of this environment.
        follow: show the job's log.
        wait: until the job ends.
    """

    words: Sequence[str]
    address: str | None = None
    name: str | None = None
    working_dir: Path | None = None
    env: Sequence[str] = ()
    follow: bool = True
    wait: bool = True


@dataclass(frozen=True)
class Cargo:
    """What is given to the job server.

    Attributes:
        entrypoint: the command line.
        luggage: its files.
        variables: of its environment.
    """

    entrypoint: str
    luggage: Luggage
    variables: dict[str, str]


def run(job: SubmitJob) -> int:
    """Submit, or join the job of that name; returns the exit code of its command.

    Raises:
        InputError, SettingsError: the command, what travels, a variable or the address cannot be
            used.
        CommitConflict: the job of that name runs another command.
        RunFailed: the job server was not reached, or the job failed without an exit code of ours.
    """
    cargo, address = cargo_of(job), server_address(job.address)
    server = connect(address)
    name = _name(server, job.name, cargo)
    if not job.wait:
        console().print(name)
        return 0
    try:
        return _attend(server, name, job.follow)
    except (KeyboardInterrupt, SystemExit):
        error_console().print(
            f"The job goes on: the same command with --id {name} joins it, and "
            f"`ray job stop --address {address} {name}` stops it."
        )
        raise


def cargo_of(job: SubmitJob) -> Cargo:
    """All that travels.

    Raises:
        InputError, SettingsError: the command itself would be refused so, a file or variable may
            not travel, or a path would not be found there.
    """
    arguments = parse(job.words)
    config: Path | None = arguments.get("config")
    settings = load_settings(config, arguments.get("overrides") or ())
    variables = _variables(job.env, settings.events.webhook)
    luggage = pack(job.working_dir, config)
    refuse_unseen(arguments, luggage.files)
    words = job.words
    if config is not None and luggage.config is not None:
        words = renamed(words, config, luggage.config)
    return Cargo(shlex.join(["shardrank", *words]), luggage, variables)


def _variables(given: Sequence[str], webhook: str | None) -> dict[str, str]:
    """Those of the job. Raises where one may hold a secret: a job server shows them."""
    found = dict(_variable(each) for each in given)
    for name, value in found.items():
        if why := _secret(name, value, webhook):
            raise SettingsError(
                f"{name} {why}, and a job's variables are shown by its job server.",
                "Give it to the nodes themselves, where Ray is started: as a role, a mounted file, "
                "a variable, or a secret of Kubernetes (docs/kubernetes.md).",
            )
    return found


def _secret(name: str, value: str, webhook: str | None) -> str:
    if name == webhook:
        return "holds the URL of events.webhook, which may be a secret"
    if _WITH_PASSWORD.search(value):
        return "holds a URL with a password"
    return "looks like a secret" if _SECRET.search(name) else ""


def _variable(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if equals:
        return name, value
    if name not in os.environ:
        raise SettingsError(f"--env {name}: there is no such variable here.", "Give NAME=VALUE.")
    return name, os.environ[name]


def _name(server: JobServer, wanted: str | None, cargo: Cargo) -> str:
    """Of the job that does the work: one that runs or is done, or a new one."""
    free, running = _place(server, wanted, cargo.entrypoint)
    if running is not None:
        name = running.submission_id or ""
        error_console().print(f"Job {name} {_since(running)}; nothing new is submitted.")
        return name
    name = _submit(server, free, cargo)
    error_console().print(
        f"Job {name} submitted to {server.address}; {cargo.luggage.explain()} travel."
    )
    return name


def _place(
    server: JobServer, name: str | None, entrypoint: str
) -> tuple[str | None, "JobDetails | None"]:
    """The name to submit under, or the job that does that work already, running or done.

    A job that failed or was stopped keeps its name and its log; the next attempt is NAME.2.
    """
    if name is None:
        return None, None
    attempts = _attempts(server, name)
    if not attempts:
        return name, None
    number, last = max(attempts.items())
    held = name if number == 1 else f"{name}.{number}"
    if last.status.value in ("FAILED", "STOPPED"):
        return f"{name}.{number + 1}", None
    if last.entrypoint != entrypoint:
        raise CommitConflict(
            f"Job {held} {_since(last)} with another command: {last.entrypoint}",
            "Give this one a name of its own: --id.",
        )
    return None, last


def _attempts(server: JobServer, name: str) -> Mapping[int, "JobDetails"]:
    found = {}
    for job in server.jobs():
        base, dot, number = (job.submission_id or "").rpartition(".")
        if job.submission_id == name:
            found[1] = job
        elif dot and base == name and number.isdigit():
            found[int(number)] = job
    return found


def _since(job: "JobDetails") -> str:
    if job.status.value == "SUCCEEDED":
        return f"finished at {clock((job.end_time or 0) / 1000)} UTC"
    return f"is {job.status.value.lower()} since {clock((job.start_time or 0) / 1000)} UTC"


def _submit(server: JobServer, name: str | None, cargo: Cargo) -> str:
    if not cargo.luggage.files:
        return server.submit(cargo.entrypoint, name, cargo.variables, None)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "job.zip"
        cargo.luggage.zip(package)
        return server.submit(cargo.entrypoint, name, cargo.variables, package)


def _attend(server: JobServer, name: str, follow: bool) -> int:
    """Wait for the job's end, and show its log meanwhile; returns its command's exit code."""
    log = JobLog(server.client, name) if follow else None
    told = time.monotonic()
    while (found := _look(server, name)).status.value not in _OVER:
        silent = log is None or found.status.value == "PENDING"
        if silent and time.monotonic() - told >= TELL_EVERY:
            error_console().print(f"Job {name} {_since(found)}: {_one_line(found.message)}")
            told = time.monotonic()
        if log is None:
            time.sleep(LOOK_EVERY)
        else:
            log.show(LOOK_EVERY)
    if log is not None and (why := log.finish()):
        error_console().print(
            f"The log's end was not read ({why}): `ray job logs --address {server.address} {name}`."
        )
    return _exit_code(name, found)


def _look(server: JobServer, name: str) -> "JobDetails":
    try:
        return server.job(name)
    except Unknown as error:
        raise RunFailed(
            f"The job server knows no job {name} any more: its cluster was begun anew.",
            "The same submit goes on.",
        ) from error


def _exit_code(name: str, job: "JobDetails") -> int:
    if job.status.value == "SUCCEEDED":
        return 0
    if job.status.value == "STOPPED":
        error_console().print(f"Job {name} was stopped.")
        return TERMINATED
    code = job.driver_exit_code
    if code == NOT_FOUND:
        raise InputError(
            f"Job {name}: the head has no command shardrank on its PATH.",
            "Start Ray on the head with the environment's bin folder on PATH (docs/cluster.md).",
        )
    if code not in OURS:
        raise RunFailed(
            f"Job {name} failed{_how(job)}: {_last_line(job.message)}", "The same submit goes on."
        )
    error_console().print(f"Job {name} ended with exit code {code}.")
    return int(code)


def _how(job: "JobDetails") -> str:
    """Beside its last words: a code that is none of ours, or why its command did not even begin."""
    if job.driver_exit_code is not None:
        return f" with exit code {job.driver_exit_code}"
    return f" ({job.error_type.lower().replace('_', ' ')})" if job.error_type else ""


def _last_line(message: str | None) -> str:
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    return lines[-1] if lines else "Ray gives no reason."


def _one_line(message: str | None) -> str:
    return " ".join((message or "Ray gives no reason.").split())
