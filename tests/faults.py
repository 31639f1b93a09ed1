"""A proxy in front of an S3 that fails as a busy service does."""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

#: Refused before anything happened; done, but the answer says failed; no answer, done or not; an
#: answer that breaks off.
FAULTS = ("503 before", "500 after", "silent before", "silent after", "truncated")
#: Those without an answer cost the client a whole timeout each: they are drawn half as often.
WEIGHTS = (2, 2, 1, 1, 2)
ERROR = b"<Error><Code>%s</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class Faults:
    """Which requests fail, and how. `silence` is in seconds; longer than the client waits."""

    share: float
    seed: int
    silence: float
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def draw(self) -> str:
        """The fate of the next request: one of FAULTS, or "none"."""
        with self.lock:
            fate = (
                self._rng.choices(FAULTS, WEIGHTS)[0] if self._rng.random() < self.share else "none"
            )
            self.counts[fate] += 1
        return fate


@dataclass(frozen=True)
class Answer:
    """What the store said."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@contextmanager
def failing(endpoint: str, faults: Faults) -> Iterator[str]:
    """The URL of a proxy before `endpoint`."""
    upstream = urlsplit(endpoint).netloc

    class Handler(_Handler):
        def __init__(self, *args: object) -> None:
            self.upstream, self.faults = upstream, faults
            super().__init__(*args)  # type: ignore[arg-type]

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: str
    faults: Faults

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        body = self._body()
        fate = self.faults.draw()
        if fate == "503 before":
            return self._send(Answer(503, [], ERROR % b"SlowDown"))
        if fate == "silent before":
            return self._hang_up()
        answer = self._forward(body)
        if fate == "500 after":
            return self._send(Answer(500, [], ERROR % b"InternalError"))
        if fate == "silent after":
            return self._hang_up()
        self._send(answer, cut=fate == "truncated")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 (http.server names them)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _forward(self, body: bytes) -> Answer:
        """With the host that the client named: its signature covers it."""
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        hop = ("transfer-encoding", "content-length", "connection", "expect")
        headers = {k: v for k, v in self.headers.items() if k.lower() not in hop}
        headers["Content-Length"] = str(len(body))
        try:
            connection.request(self.command, self.path, body, headers)
            found = connection.getresponse()
            kept = [(k, v) for k, v in found.getheaders() if k.lower() not in hop]
            if self.command == "HEAD" and (length := found.getheader("Content-Length")):
                kept.append(("Content-Length", length))
            return Answer(found.status, kept, found.read())
        finally:
            connection.close()

    def _send(self, answer: Answer, cut: bool = False) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        has_body = self.command != "HEAD" and answer.status != http.client.NO_CONTENT
        if has_body:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if has_body:
            self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
        self.close_connection = self.close_connection or cut

    def _hang_up(self) -> None:
        time.sleep(self.faults.silence)
        self.close_connection = True
