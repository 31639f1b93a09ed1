"""Jobs by a made-up job server: names, attempts, what travels, and the exit code handed on."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shardrank.core.errors import CommitConflict, InputError, RunFailed, SettingsError
from shardrank.jobs import submit
from shardrank.jobs.luggage import pack
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
    )


@dataclass
class Server:
    """What JobSubmissionClient has of calls that are made (a stand-in)."""

    jobs: list[SimpleNamespace] = field(default_factory=list)
    ends: SimpleNamespace | None = None
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
        return self.ends or job(name, "SUCCEEDED", code=0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(submit, "_client", lambda address: found)
    return found


def run(name: str | None = None, **more: Any) -> int:
    return submit.run(SubmitJob(WORDS, name=name, follow=False, **more))


def test_a_new_job_is_submitted_under_its_name(server: Server) -> None:
    assert run("night") == 0
    assert [each["submission_id"] for each in server.submitted] == ["night"]
    assert server.submitted[0]["entrypoint"] == LINE
    assert server.submitted[0]["runtime_env"] == {}


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "SUCCEEDED"])
def test_one_that_runs_or_is_done_is_joined(server: Server, status: str) -> None:
    server.jobs = [job("night", status)]
    assert run("night") == 0
    assert server.submitted == []


def test_what_ended_badly_is_tried_again_under_the_next_name(server: Server) -> None:
    server.jobs = [job("night", "FAILED"), job("night.2", "STOPPED"), job("night.x", "RUNNING")]
    assert run("night") == 0
    assert server.submitted[0]["submission_id"] == "night.3"
    server.jobs.append(job("night.3", "RUNNING"))
    assert run("night") == 0
    assert len(server.submitted) == 1


def test_a_name_in_use_by_another_command_is_refused(server: Server) -> None:
    server.jobs = [job("night", "RUNNING", "shardrank index other index")]
    with pytest.raises(CommitConflict, match="with another command: shardrank index other"):
        run("night")


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_the_exit_code_is_the_commands(server: Server, code: int) -> None:
    server.ends = job("night", "FAILED", code=code)
    assert run("night") == code


def test_a_stopped_job_ends_as_by_sigterm(server: Server) -> None:
    server.ends = job("night", "STOPPED")
    assert run("night") == 143


def test_other_ends_are_put_into_words(server: Server) -> None:
    server.ends = job("night", "FAILED", code=127)
    with pytest.raises(InputError, match="no command shardrank on its PATH"):
        run("night")
    server.ends = job("night", "FAILED", code=None)
    with pytest.raises(RunFailed, match="last words"):
        run("night")


def test_no_wait_says_the_name_alone(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(None, wait=False) == 0
    assert capsys.readouterr().out == "made-up\n"


def test_settings_files_travel_and_the_command_names_them_there(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "night.toml").write_text("")
    words = (*WORDS, "--config", str(tmp_path / "night.toml"))
    submit.run(SubmitJob(words, follow=False))
    told = server.submitted[0]
    assert told["entrypoint"] == f"{LINE} --config _config/night.toml"
    assert told["files"] == ["_config/night.toml"]


def test_a_folder_travels_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("a.toml", "in/b.txt", ".env", ".git/config", "__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = pack(["rank", f"--config={tmp_path}/a.toml"], tmp_path)
    assert sorted(found.files) == ["a.toml", "in/b.txt"]
    assert found.words == ("rank", "--config=a.toml")
    one, two = tmp_path / "1.zip", tmp_path / "2.zip"
    found.zip(one)
    found.zip(two)
    assert one.read_bytes() == two.read_bytes()


def test_too_much_is_named(tmp_path: Path) -> None:
    with (tmp_path / "corpus.jsonl").open("wb") as file:
        file.truncate(101 << 20)
    with pytest.raises(InputError, match=r"corpus\.jsonl \(106 MB\)"):
        pack(["index"], tmp_path)


def test_what_cannot_travel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        pack(["index"], tmp_path / "none")
    with pytest.raises(InputError, match="no settings file gone"):
        pack(["index", "-c", "gone"], None)


def test_secrets_are_not_variables_of_a_job(server: Server) -> None:
    with pytest.raises(SettingsError, match="AWS_SECRET_ACCESS_KEY looks like a secret"):
        run(env=["AWS_SECRET_ACCESS_KEY=x"])
    with pytest.raises(SettingsError, match="no such variable here"):
        run(env=["NOT_THERE_AT_ALL"])
    assert run(env=["AWS_REGION=eu-west-1"]) == 0
    assert server.submitted[0]["runtime_env"] == {"env_vars": {"AWS_REGION": "eu-west-1"}}


def test_where_the_job_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert submit.server_address(None) == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert submit.server_address(None) == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265/")
    assert submit.server_address(None) == "http://head:8265"
    with pytest.raises(SettingsError, match="no address of a job server"):
        submit.server_address("head:6379")
