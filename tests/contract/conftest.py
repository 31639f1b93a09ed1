"""One storage of each kind: local disk, an S3 double, and a real S3 where one is given."""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.core.protocols import Storage
from pipelines.core.settings import S3Settings
from pipelines.storage import LocalStorage, S3Storage, Sources
from pipelines.storage.client import filesystem

REAL_S3 = "SHARDRANK_TEST_S3_ENDPOINT"


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """A moto server whose requests run one at a time: its own check-and-put is not atomic."""
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    app, lock = server._server.app, threading.Lock()

    def one_at_a_time(environ: dict[str, object], start_response: Callable[..., object]) -> object:
        with lock:
            return app(environ, start_response)

    server._server.app = one_at_a_time
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["local", "moto", "ceph"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    if request.param == "local":
        return LocalStorage(str(tmp_path / "root"))
    if request.param == "moto":
        endpoint = request.getfixturevalue("moto_endpoint")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    elif REAL_S3 in os.environ:
        endpoint = os.environ[REAL_S3]
    else:
        pytest.skip(f"{REAL_S3} is not set, so there is no real S3 to test against")
    return S3Storage(f"s3://{new_bucket(endpoint)}/some/prefix", S3Settings(endpoint=endpoint))


def new_bucket(endpoint: str) -> str:
    name = f"shardrank-{uuid.uuid4().hex}"
    filesystem(S3Settings(endpoint=endpoint)).mkdir(name)
    return name


@pytest.fixture
def sources(storage: Storage) -> Sources:
    """What reads documents from where `storage` writes."""
    return Sources(storage.settings) if isinstance(storage, S3Storage) else Sources(S3Settings())
