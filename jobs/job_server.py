"""A cluster's job server: where it is, and patience where it does not answer for a while."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shardrank import __version__
from shardrank.core.errors import RunFailed, SettingsError
from shardrank.jobs.console import error_console

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

#: Where a head's job server listens, unless it was told otherwise.
LOCAL = "http://127.0.0.1:8265"
#: Seconds for which a server that was reached may fail to answer.
PATIENCE = 60.0
#: Seconds until it is asked again.
AGAIN_AFTER = 2.0
#: Seconds for one answer; Ray itself would wait for ever for a machine that is gone.
ONE_ANSWER = 30.0

T = TypeVar("T")


class Unknown(Exception):
    """The job server knows no such job."""


@dataclass(frozen=True)
class JobServer:
    """One that was reached.

    Attributes:
        address: its URL.
        client: Ray's own.
    """

    address: str
    client: "JobSubmissionClient"

    def jobs(self) -> "Sequence[JobDetails]":
        """All that it knows. Raises RunFailed where it does not answer."""
        return self._patiently(self.client.list_jobs, "Nothing was submitted.")

    def job(self, name: str) -> "JobDetails":
        """One of them.

        Raises:
            Unknown: not one of them.
            RunFailed: the server did not answer.
        """
        hint = f"Job {name} goes on all the same: the same command with --id {name} joins it."
        return self._patiently(lambda: self._job(name), hint)

    def submit(
        self, entrypoint: str, name: str | None, variables: dict[str, str], package: Path | None
    ) -> str:
        """Begin a job; returns its name.

        Raises:
            RunFailed: the server did not take it, or did not say so.
        """
        environment: dict[str, Any] = {"env_vars": variables} if variables else {}
        if package:
            environment["working_dir"] = str(package)
        try:
            return self.client.submit_job(
                entrypoint=entrypoint,
                submission_id=name,
                runtime_env=environment,
                metadata={"shardrank": __version__},
            )
        except OSError as error:
            raise _unsure(self.address, error) from error
        except (RuntimeError, ValueError) as error:
            raise RunFailed(
                f"The job server did not take the job: {first_line(error)}",
                "Another may have come first.",
            ) from error
        except _authentication_error() as error:
            raise _no_token(self.address) from error

    def _job(self, name: str) -> "JobDetails":
        try:
            return self.client.get_job_info(name)
        except RuntimeError as error:
            if "status code 404" in str(error):
                raise Unknown(name) from error
            raise

    def _patiently(self, ask: Callable[[], T], hint: str) -> T:
        """What it answers; it is asked again for a while where it does not."""
        began, told = time.monotonic(), False
        while True:
            try:
                return ask()
            except _authentication_error() as error:
                raise _no_token(self.address) from error
            except (OSError, RuntimeError) as error:
                if time.monotonic() - began > PATIENCE:
                    raise RunFailed(
                        f"The job server at {self.address} has not answered for "
                        f"{PATIENCE:.0f} s: {first_line(error)}",
                        hint,
                    ) from error
                if not told:
                    error_console().print(
                        f"The job server does not answer, and is asked again: {first_line(error)}"
                    )
                told = True
            time.sleep(AGAIN_AFTER)


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


def connect(address: str) -> JobServer:
    """The server at an address.

    Raises:
        SettingsError: Ray is installed without what its job server needs.
        RunFailed: it was not reached, or does not take the token.
    """
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise _not_installed(error) from error
    try:
        client = JobSubmissionClient(address)
    except _authentication_error() as error:
        raise _no_token(address) from error
    except (OSError, RuntimeError, ValueError) as error:
        if "ray[default]" in str(error):
            raise _not_installed(error) from error
        raise RunFailed(
            f"The job server at {address} was not reached: {first_line(error)}",
            "A head started with ray[default] has one at http://HOST:8265 (docs/cluster.md).",
        ) from error
    for kind in JobSubmissionClient.__mro__[:-1]:
        logging.getLogger(kind.__module__).setLevel(logging.WARNING)
    client._do_request = partial(  # type: ignore[method-assign]
        client._do_request, timeout=ONE_ANSWER
    )
    return JobServer(address, client)


def first_line(error: BaseException) -> str:
    """What it says, in one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _authentication_error() -> type[Exception]:
    from ray.exceptions import AuthenticationError

    found: type[Exception] = AuthenticationError
    return found


def _not_installed(error: Exception) -> SettingsError:
    return SettingsError(
        f"Ray's job server needs more than is installed: {first_line(error)}.",
        "pip install 'shardrank[cluster]' (ray[default]).",
    )


def _no_token(address: str) -> RunFailed:
    return RunFailed(
        f"The job server at {address} did not take the token.",
        "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token.",
    )


def _unsure(address: str, error: Exception) -> RunFailed:
    return RunFailed(
        f"The job server at {address} did not say whether it took the job: {first_line(error)}",
        "`ray job list` shows whether it did; with --id the same command joins it then.",
    )
