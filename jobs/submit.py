"""shardrank submit: a command as a job on a Ray cluster, by the cluster's job server."""

import asyncio
import logging
import os
import re
import shlex
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardrank import __version__
from shardrank.core.errors import CommitConflict, InputError, RunFailed, SettingsError
from shardrank.core.outcomes import TERMINATED
from shardrank.jobs.console import console, error_console
from shardrank.jobs.luggage import Luggage, pack

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

#: Where a head's job server listens, unless it was told otherwise.
LOCAL = "http://127.0.0.1:8265"
#: Seconds between two looks at a job without its log.
LOOK_EVERY = 2.0
#: A shell's code for a command that it does not find.
NOT_FOUND = 127

_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE|CREDENTIAL", re.IGNORECASE)
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


def run(job: SubmitJob) -> int:
    """Submit, or join the job of that name; returns the exit code of its command.

    Raises:
        InputError, SettingsError: what travels, a variable or the address cannot be used.
        CommitConflict: the job of that name runs another command.
        RunFailed: the job server was not reached.
    """
    variables, luggage = _variables(job.env), pack(job.words, job.working_dir)
    address = server_address(job.address)
    client = _client(address)
    entrypoint = shlex.join(["shardrank", *luggage.words])
    free, running = _place(client, job.name, entrypoint)
    if running is not None:
        name = running.submission_id or ""
        error_console().print(f"Job {name} {_since(running)}; nothing new is submitted.")
    else:
        name = _submit(client, free, entrypoint, luggage, variables)
        error_console().print(f"Job {name} submitted to {address}; {luggage.explain()} travel.")
    if not job.wait:
        console().print(name)
        return 0
    try:
        return _attend(client, name, job.follow)
    except KeyboardInterrupt:
        error_console().print(
            f"The job goes on: the same command with --id {name} joins it, and "
            f"`ray job stop --address {address} {name}` stops it."
        )
        raise


def server_address(given: str | None) -> str:
    """Of the job server: as given, as in RAY_API_SERVER_ADDRESS or RAY_ADDRESS, or this machine's.

    Raises:
        SettingsError: it is no http(s):// URL.
    """
    names = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
    told = (os.environ.get(name) for name in names)
    found = given or next((each for each in told if each and "://" in each), LOCAL)
    if not found.startswith(("http://", "https://")):
        raise SettingsError(
            f"{found!r} is no address of a job server.", "Give its URL: http://HOST:8265."
        )
    return found.rstrip("/")


def _variables(given: Sequence[str]) -> dict[str, str]:
    found = dict(_variable(each) for each in given)
    if secret := [name for name in found if _SECRET.search(name)]:
        raise SettingsError(
            f"{secret[0]} looks like a secret, and a job's variables are shown by its job server.",
            "Give the nodes credentials of their own: a role, a mounted file, or a secret of "
            "Kubernetes (docs/kubernetes.md).",
        )
    return found


def _variable(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if equals:
        return name, value
    if name not in os.environ:
        raise SettingsError(f"--env {name}: there is no such variable here.", "Give NAME=VALUE.")
    return name, os.environ[name]


def _client(address: str) -> "JobSubmissionClient":
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise SettingsError(
            f"Ray's job server needs more than is installed: {error}.",
            "pip install 'shardrank[cluster]' (ray[default]).",
        ) from error
    try:
        client = JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        words = str(error)
        if "401" in words or "403" in words or "token" in words.lower():
            hint = "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token."
            raise RunFailed(f"The job server at {address} did not take the token.", hint) from error
        raise RunFailed(
            f"The job server at {address} was not reached: {words.splitlines()[0]}",
            "A head started with ray[default] has one at http://HOST:8265 (docs/cluster.md).",
        ) from error
    logging.getLogger(JobSubmissionClient.__module__).setLevel(logging.WARNING)
    return client


def _place(
    client: "JobSubmissionClient", name: str | None, entrypoint: str
) -> tuple[str | None, "JobDetails | None"]:
    """The name to submit under, or the job that does that work already, running or done.

    A job that failed or was stopped keeps its name and its log; the next attempt is NAME.2.
    """
    if name is None:
        return None, None
    attempts = _attempts(client, name)
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


def _attempts(client: "JobSubmissionClient", name: str) -> Mapping[int, "JobDetails"]:
    found = {}
    for job in client.list_jobs():
        base, dot, number = (job.submission_id or "").rpartition(".")
        if job.submission_id == name:
            found[1] = job
        elif dot and base == name and number.isdigit():
            found[int(number)] = job
    return found


def _since(job: "JobDetails") -> str:
    if job.status.value == "SUCCEEDED":
        return f"finished at {_clock(job.end_time)}"
    return f"is {job.status.value.lower()} since {_clock(job.start_time)}"


def _clock(milliseconds: int | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime((milliseconds or 0) / 1000))


def _submit(
    client: "JobSubmissionClient",
    name: str | None,
    entrypoint: str,
    luggage: Luggage,
    variables: dict[str, str],
) -> str:
    with tempfile.TemporaryDirectory() as folder:
        environment: dict[str, Any] = {"env_vars": variables} if variables else {}
        if luggage.files:
            package = Path(folder) / "job.zip"
            luggage.zip(package)
            environment["working_dir"] = str(package)
        try:
            return client.submit_job(
                entrypoint=entrypoint,
                submission_id=name,
                runtime_env=environment,
                metadata={"shardrank": __version__},
            )
        except (RuntimeError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise RunFailed(
                f"The job server did not take the job: {first}", "Another may have come first."
            ) from error


def _attend(client: "JobSubmissionClient", name: str, follow: bool) -> int:
    """Wait for the job's end, and show its log meanwhile; returns its command's exit code."""
    if follow:
        asyncio.run(_show_log(client, name))
    while (found := client.get_job_info(name)).status.value not in _OVER:
        time.sleep(LOOK_EVERY)
    return _exit_code(name, found)


async def _show_log(client: "JobSubmissionClient", name: str) -> None:
    async for lines in client.tail_job_logs(name):
        console().print(lines, end="")


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
    if code is None or not 0 < code < 128:
        raise RunFailed(f"Job {name} failed: {_last_line(job.message)}", "The same submit goes on.")
    error_console().print(f"Job {name} ended with exit code {code}.")
    return int(code)


def _last_line(message: str | None) -> str:
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    return lines[-1] if lines else "Ray gives no reason."
