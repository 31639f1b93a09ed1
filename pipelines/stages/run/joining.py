"""Why a Ray cluster cannot be joined, in words: Ray itself says it in lines of its native code, or
only after minutes. Knows no Ray."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing

from shardrank.core.errors import RunFailed, SettingsError

#: Seconds for a node of one's own network to answer.
PATIENCE = 5.0

_PORTS = (
    "A head listens for drivers on 6379, unless it was started with another --port; 8265 is its "
    "job server (`shardrank submit --address http://HOST:8265`), and 10001 Ray Client's, which is "
    "not supported."
)
_TOKENS = (
    "The cluster was started with token authentication (Ray turns it on where the head's user has "
    "a file ~/.ray/auth_token): give this command RAY_AUTH_MODE=token, and the cluster's token in "
    "RAY_AUTH_TOKEN or in ~/.ray/auth_token. Or start the head with RAY_AUTH_MODE=disabled, where "
    "nobody else can reach it."
)
_HOST_PORT = re.compile(r"(?P<host>\[[^]]+\]|[^:/\s]+):(?P<port>\d{1,5})")


def refuse_unreachable(address: str) -> None:
    """Say at once what Ray would take minutes to find out.

    Args:
        address: HOST:PORT or auto.

    Raises:
        SettingsError: it is no address of a head.
        RunFailed: nothing listens there, or something else than a head.
    """
    if address == "auto":
        return
    found = _HOST_PORT.fullmatch(address)
    if found is None:
        raise SettingsError(f"cluster.address = {address!r} is no HOST:PORT of a head.", _PORTS)
    host, port = found["host"].strip("[]"), int(found["port"])
    try:
        with closing(socket.create_connection((host, port), PATIENCE)) as connection:
            is_web = _answers_as_web(connection)
    except socket.gaierror as error:
        raise RunFailed(f"There is no host {host!r}: {error.strerror}.", _PORTS) from None
    except OSError as error:
        why = error.strerror or "no answer"
        raise RunFailed(f"Nothing listens at {address}: {why}.", _PORTS) from None
    if is_web:
        raise RunFailed(f"At {address} is a web server, such as Ray's job server.", _PORTS)


def _answers_as_web(connection: socket.socket) -> bool:
    """Whether it speaks HTTP/1, which a head does not."""
    try:
        connection.settimeout(PATIENCE / 5)
        connection.sendall(b"GET /api/version HTTP/1.0\r\n\r\n")
        return connection.recv(6) == b"HTTP/1"
    except OSError:
        return False


def explained(where: str, error: Exception, said: str) -> RunFailed:
    """The error of a Ray that was not reached.

    Args:
        where: the address, as given.
        error: what Ray raised.
        said: what its native code wrote meanwhile.
    """
    words = f"{error}\n{said}"
    if "InvalidAuthToken" in words or "Unauthenticated" in words or "token" in str(error).lower():
        return RunFailed(f"The Ray cluster at {where} did not take this command's token.", _TOKENS)
    if "ersion mismatch" in words:
        return RunFailed(
            f"The Ray cluster at {where} has other versions: {'; '.join(_versions(words))}.",
            "Driver and nodes need the same Ray and the same Python (its minor version).",
        )
    if "Could not find any running Ray" in words:
        return RunFailed(
            "There is no Ray cluster on this machine that cluster.address = auto could find.",
            "Give the command on a node of the cluster, or give its head: HOST:6379.",
        )
    return RunFailed(
        f"The Ray cluster at {where} could not be joined: {_first_line(str(error))}",
        "--verbose shows what Ray says. The command must run on one of the cluster's nodes, or "
        "where all of its ports can be reached; from elsewhere submit a job: `shardrank submit`.",
    )


def _versions(words: str) -> Iterator[str]:
    """Lines such as `Ray: 2.60.0`, with who has it."""
    whose = ""
    for line in map(str.strip, words.splitlines()):
        if "started with" in line or "process on" in line.lower():
            whose = "cluster" if "luster" in line else "here"
        elif re.match(r"(Ray|Python): ", line):
            yield f"{whose} {line}".strip()


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no word why")
