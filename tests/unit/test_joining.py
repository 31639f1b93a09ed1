"""Why a cluster was not joined, in words: found out before Ray is asked, or from what it says."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from shardrank.core.errors import RunFailed, SettingsError
from shardrank.core.settings import ClusterSettings
from shardrank.stages.run.executors import cluster_address
from shardrank.stages.run.joining import explained, refuse_unreachable


@pytest.fixture
def web() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *words: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_port_where_nothing_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(RunFailed, match=rf"Nothing listens at 127.0.0.1:{port}: .*6379"):
        refuse_unreachable(f"127.0.0.1:{port}")


def test_a_job_server_is_no_head(web: str) -> None:
    with pytest.raises(RunFailed, match=r"is a web server.*shardrank submit"):
        refuse_unreachable(web)


@pytest.mark.parametrize("address", ["head", "head:port", ":6379", "a b:1"])
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(SettingsError, match="is no HOST:PORT"):
        refuse_unreachable(address)


def test_what_listens_and_says_nothing_may_be_a_head() -> None:
    with socket.create_server(("127.0.0.1", 0)) as quiet:
        refuse_unreachable(f"127.0.0.1:{quiet.getsockname()[1]}")
    refuse_unreachable("auto")


@pytest.mark.parametrize(
    ("error", "said", "words"),
    [
        (
            ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379"),
            "gcs_client.cc:210: Unauthenticated: RPC error: InvalidAuthToken: missing",
            "did not take this command's token.*RAY_AUTH_MODE=token",
        ),
        (
            RuntimeError(
                "Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n"
                "    Python: 3.12.1\nThis process on node 10.0.0.2 was started with:\n"
                "    Ray: 2.60.0\n    Python: 3.11.7\n"
            ),
            "",
            "cluster Python: 3.12.1.*here Python: 3.11.7",
        ),
        (
            ConnectionError("Could not find any running Ray instance. Please specify"),
            "",
            "no Ray cluster on this machine",
        ),
        (ConnectionError("Something else\nand more"), "", "could not be joined: Something else"),
    ],
)
def test_what_ray_says_is_put_into_words(error: Exception, said: str, words: str) -> None:
    found = explained("10.0.0.1:6379", error, said)
    with pytest.raises(RunFailed, match=words):
        raise found


def test_the_environment_names_a_cluster_as_in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert cluster_address(ClusterSettings()) is None
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster_address(ClusterSettings()) == "10.0.0.1:6379"
    assert cluster_address(ClusterSettings(address="other:1")) == "other:1"
    assert cluster_address(ClusterSettings(address="local")) is None
    monkeypatch.setenv("RAY_ADDRESS", "http://10.0.0.1:8265")
    with pytest.raises(SettingsError, match=r"RAY_ADDRESS is 'http:.*shardrank submit"):
        cluster_address(ClusterSettings())
