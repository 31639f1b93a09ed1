"""Jobs by a made-up job server: names, attempts, what travels, and the exit code handed on."""

import asyncio
import re
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from ray.exceptions import AuthenticationError

from shardrank.core.errors import CommitConflict, InputError, RunFailed, SettingsError
from shardrank.jobs import job_log, job_server, submit
from shardrank.jobs.job_server import JobServer
from shardrank.jobs.submit import SubmitJob

WORDS = ("index", "s3://b/corpus", "s3://b/index")
LINE = "shardrank index s3://b/corpus s3://b/index"


def job(name: str, status: str, line: str = LINE, code: int | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        submission_id=name,
        status=SimpleNamespace(value=status),
        entrypoint=line,
        start_time=1_795_946_767_000,
        end_time=1_795_946_767_000,
        driver_exit_code=code,
        message="one\nlast words",
        error_type=None,
    )


@dataclass
class Client:
    """What JobSubmissionClient has of calls that are made (a stand-in).

    Attributes:
        jobs: it knows.
        ends: how a job ends; None: well.
        before: what it says or raises, one after the other, before that.
        logs: what each reading of the log gives, an exception as its end where it breaks off, and
            None where no more comes.
        submitted: what it was told.
    """

    jobs: list[SimpleNamespace] = field(default_factory=list)
    ends: SimpleNamespace | None = None
    before: list[SimpleNamespace | Exception] = field(default_factory=list)
    logs: list[list[str | Exception | None]] = field(default_factory=lambda: [[]])
    submitted: list[dict[str, Any]] = field(default_factory=list)

    def list_jobs(self) -> list[SimpleNamespace]:
        return self.jobs

    def submit_job(self, **told: Any) -> str:
        self.submitted.append(told)
        if package := told["runtime_env"].get("working_dir"):
            with zipfile.ZipFile(package) as found:
                told["files"] = found.namelist()
        return told["submission_id"] or "made-up"

    def get_job_info(self, name: str) -> SimpleNamespace:
        if self.before:
            said = self.before.pop(0) if len(self.before) > 1 or self.ends else self.before[0]
            if isinstance(said, Exception):
                raise said
            return said
        return self.ends or job(name, "SUCCEEDED", code=0)

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        for piece in self.logs.pop(0) if len(self.logs) > 1 else self.logs[0]:
            if isinstance(piece, Exception):
                raise piece
            if piece is None:
                await asyncio.sleep(3600)
            yield piece or ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Client:
    """A server in whose world seconds are short."""
    found: Any = Client()
    monkeypatch.setattr(submit, "connect", lambda address: JobServer(address, found))
    monkeypatch.setattr(submit, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(submit, "TELL_EVERY", 0.0)
    monkeypatch.setattr(job_server, "PATIENCE", 0.2)
    monkeypatch.setattr(job_server, "AGAIN_AFTER", 0.05)
    monkeypatch.setattr(job_log, "LAST_WORDS", 0.2)
    return found


def run(name: str | None = None, **more: Any) -> int:
    return submit.run(SubmitJob(WORDS, name=name, follow=False, **more))


def test_a_new_job_is_submitted_under_its_name(server: Client) -> None:
    assert run("night") == 0
    assert [each["submission_id"] for each in server.submitted] == ["night"]
    assert server.submitted[0]["entrypoint"] == LINE
    assert server.submitted[0]["runtime_env"] == {}


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "SUCCEEDED"])
def test_one_that_runs_or_is_done_is_joined(server: Client, status: str) -> None:
    server.jobs = [job("night", status)]
    assert run("night") == 0
    assert server.submitted == []


def test_what_ended_badly_is_tried_again_under_the_next_name(server: Client) -> None:
    server.jobs = [job("night", "FAILED"), job("night.2", "STOPPED"), job("night.x", "RUNNING")]
    assert run("night") == 0
    assert server.submitted[0]["submission_id"] == "night.3"
    server.jobs.append(job("night.3", "RUNNING"))
    assert run("night") == 0
    assert len(server.submitted) == 1


def test_a_name_in_use_by_another_command_is_refused(server: Client) -> None:
    server.jobs = [job("night", "RUNNING", "shardrank index other index")]
    with pytest.raises(CommitConflict, match="with another command: shardrank index other"):
        run("night")


@pytest.mark.parametrize("code", submit.OURS)
def test_the_exit_code_is_the_commands(server: Client, code: int) -> None:
    server.ends = job("night", "FAILED", code=code)
    assert run("night") == code


def test_these_are_the_exit_codes_that_there_are() -> None:
    said = (Path(__file__).parents[2] / "docs/files.md").read_text("utf-8")
    table = said[said.index("| exit code |") :]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == [
        0,
        *submit.OURS,
    ]


def test_a_stopped_job_ends_as_by_sigterm(server: Client) -> None:
    server.ends = job("night", "STOPPED")
    assert run("night") == 143


def test_other_ends_are_put_into_words(server: Client) -> None:
    server.ends = job("night", "FAILED", code=127)
    with pytest.raises(InputError, match="no command shardrank on its PATH"):
        run("night")
    server.ends = job("night", "FAILED", code=None)
    server.ends.error_type = "RUNTIME_ENV_SETUP_FAILURE"
    with pytest.raises(RunFailed, match=r"failed \(runtime env setup failure\): last words"):
        run("night")
    server.ends = job("night", "FAILED", code=137)
    with pytest.raises(RunFailed, match="failed with exit code 137: last words"):
        run("night")


BLIPS = [
    requests.exceptions.ConnectionError("refused"),
    requests.exceptions.ReadTimeout("slow"),
    RuntimeError("Request failed with status code 500: GCS is away."),
]


def test_a_blip_of_the_server_ends_nothing(
    server: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    server.before, server.ends = list(BLIPS), job("night", "FAILED", code=3)
    assert run("night") == 3
    assert capsys.readouterr().err.count("does not answer, and is asked again: refused") == 1


@pytest.mark.parametrize("blip", BLIPS, ids=lambda blip: type(blip).__name__)
def test_a_server_that_is_gone_for_long_says_how_to_join(server: Client, blip: Exception) -> None:
    server.before = [blip]
    with pytest.raises(RunFailed, match=r"not answered for.*Job night goes on.*--id night joins"):
        run("night")


def test_a_token_that_is_not_taken_is_said_at_once(server: Client) -> None:
    server.before = [AuthenticationError("no")]
    with pytest.raises(RunFailed, match="did not take the token"):
        run("night")


def test_a_job_that_the_server_forgot_is_said_at_once(server: Client) -> None:
    server.before = [RuntimeError("Request failed with status code 404: Job night does not exist.")]
    with pytest.raises(RunFailed, match="knows no job night any more"):
        run("night")


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(RunFailed, match=r"127\.0\.0\.1:1 was not reached"):
        job_server.connect("http://127.0.0.1:1")


def test_an_answer_that_never_comes_to_a_submission(
    server: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**told: Any) -> str:
        raise requests.exceptions.ReadTimeout("slow")

    monkeypatch.setattr(server, "submit_job", away)
    with pytest.raises(RunFailed, match="did not say whether it took the job: slow"):
        run("night")


def test_a_job_that_does_not_begin_is_spoken_of(
    server: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    server.before, server.ends = [job("night", "PENDING")] * 2, job("night", "SUCCEEDED")
    assert submit.run(SubmitJob(WORDS, name="night")) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "is pending since" in line]
    assert said == ["Job night is pending since 2026-11-29 10:06:07 UTC: one last words"] * 2


def test_the_log_is_shown_as_it_is(server: Client, capsys: pytest.CaptureFixture[str]) -> None:
    server.logs = [["a :100: [bold]b[/]\n", "\x1b[1mc\x1b[0m\n"]]
    assert submit.run(SubmitJob(WORDS, name="night")) == 0
    assert capsys.readouterr().out == "a :100: [bold]b[/]\n\x1b[1mc\x1b[0m\n"


def test_a_log_that_breaks_off_is_shown_once(
    server: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    server.before = [job("night", "RUNNING"), job("night", "RUNNING")]
    server.ends = job("night", "SUCCEEDED")
    server.logs = [["one\n", "two", RuntimeError("closed")], ["one\ntw", OSError("reset")]]
    server.logs.append(["one\n", "two\nthree\n"])
    assert submit.run(SubmitJob(WORDS, name="night")) == 0
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


def test_a_log_that_comes_to_a_halt_is_asked_for_anew(
    server: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    server.logs = [["one\n", None], ["one\n", "two\n"]]
    assert submit.run(SubmitJob(WORDS, name="night")) == 0
    assert capsys.readouterr().out == "one\ntwo\n"


def test_a_log_that_cannot_be_read_does_not_hide_the_end(
    server: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    server.ends = job("night", "FAILED", code=1)
    server.logs = [["one\n", RuntimeError("closed")]]
    assert submit.run(SubmitJob(WORDS, name="night")) == 1
    said = capsys.readouterr()
    assert said.out == "one\n"
    assert "The log's end was not read (closed): `ray job logs" in said.err


def test_no_wait_says_the_name_alone(server: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(None, wait=False) == 0
    assert capsys.readouterr().out == "made-up\n"


def test_where_the_job_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert job_server.server_address(None) == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert job_server.server_address(None) == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265/")
    assert job_server.server_address(None) == "http://head:8265"
    with pytest.raises(SettingsError, match="no address of a job server"):
        job_server.server_address("head:6379")


def test_files_and_variables_are_handed_to_the_server(server: Client, tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text("")
    words = (*WORDS, "--config", str(tmp_path / "night.toml"))
    assert submit.run(SubmitJob(words, env=["AWS_REGION=eu-west-1"], follow=False)) == 0
    [told] = server.submitted
    assert told["entrypoint"] == f"{LINE} --config _config/night.toml"
    assert told["files"] == ["_config/night.toml"]
    assert told["runtime_env"]["env_vars"] == {"AWS_REGION": "eu-west-1"}
