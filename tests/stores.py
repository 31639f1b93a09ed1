"""S3 for the tests: a double that runs in this process, a real one where one is given."""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shardrank.core.settings import S3Settings
from shardrank.storage.client import filesystem

#: Where a real S3 listens (infra/ceph-s3 starts one); keys are in the AWS environment.
REAL_S3 = "SHARDRANK_TEST_S3_ENDPOINT"
KINDS = ("moto", "ceph")


@contextmanager
def moto() -> Iterator[str]:
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


def endpoint_of(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an S3 of this kind, its keys in the environment. Skips where there is none."""
    if kind == "ceph":
        if REAL_S3 not in os.environ:
            pytest.skip(f"{REAL_S3} is not set, so there is no real S3 to test against")
        return os.environ[REAL_S3]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return str(request.getfixturevalue("moto_endpoint"))


def new_bucket(endpoint: str) -> str:
    """The name of an empty bucket."""
    name = f"shardrank-{uuid.uuid4().hex}"
    filesystem(S3Settings(endpoint=endpoint)).mkdir(name)
    return name
