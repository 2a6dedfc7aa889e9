"""A loopback HTTP server for one venue: raw requests in, answers out, and switches for everything that can go wrong.

    server = VenueServer(answer)        answer(Request) -> Response
    server.fault("silent", "POST /api/v5/trade/order")
    server.requests                     all that arrived, in their order

Faults, each for the next `times` requests whose "METHOD /path" begins with the given text:
    refuse      the connection is closed before anything is read of the answer: the request is not carried out
    drop        carried out, then the connection is closed without an answer
    silent      carried out, then nothing is said until the server stops
    broken      carried out, then half of the answer and the end
    garbage     carried out, then something that is no HTTP
    html        carried out, then 502 with a page
    error       not carried out: 503
    limited     not carried out: 429 with Retry-After
    slow        carried out, `seconds` later
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Request(NamedTuple):
    """One request as it arrived; `target` is path and query, raw."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    received: float

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


class Response(NamedTuple):
    """One answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


@dataclass
class Fault:
    """A switch that is thrown for some requests."""

    kind: str
    where: str = ""
    times: int = 1
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


_running: set[VenueServer] = set()


def stop_all() -> None:
    """Stop every server that a test has left running."""
    for server in list(_running):
        server.stop()


class VenueServer:
    """Serves until it is stopped. `answer` is called for one request at a time."""

    def __init__(self, answer: Callable[[Request], Response], port: int = 0) -> None:
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.answered: dict[str, Response] = {}
        """The last answer to each "METHOD /path"."""
        self.headers: dict[str, str] = {}
        """Headers of every answer."""
        self.limited = Response(429, b'{"msg":"too many requests"}', {"Retry-After": "1"})
        self._answer = answer
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        _running.add(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault(self, kind: str, where: str = "", times: int = 1, seconds: float = 0.0) -> None:
        """Throw a switch for the next requests that it is for."""
        self.faults.append(Fault(kind, where, times, seconds))

    def sent(self, where: str = "") -> list[Request]:
        """Answer the requests whose "METHOD /path" begins so."""
        return [each for each in self.requests if f"{each.method} {each.path}".startswith(where)]

    def stop(self) -> None:
        """End, and hang up on everybody."""
        if self not in _running:
            return
        _running.discard(self)
        self._stopped.set()
        self._server.shutdown()
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join(5)

    def _take_fault(self, request: Request) -> Fault | None:
        name = f"{request.method} {request.path}"
        for each in self.faults:
            if each.times > 0 and name.startswith(each.where):
                each.times -= 1
                return each
        return None

    def handle(self, request: Request) -> tuple[str, Response | None]:
        """Answer what to do with the connection, and what to say."""
        with self._lock:
            self.requests.append(request)
            fault = self._take_fault(request)
            kind = fault.kind if fault else ""
            if kind == "refuse":
                return "close", None
            if kind == "error":
                return "", Response(503, b"Service Unavailable", {"Content-Type": "text/plain"})
            if kind == "limited":
                return "", self.limited
            response = self.answered[f"{request.method} {request.path}"] = self._answer(request)
        if kind == "drop":
            return "close", None
        if kind == "silent":
            self._stopped.wait(60)
            return "close", None
        if kind == "slow":
            time.sleep(fault.seconds if fault else 0)
        if kind == "html":
            return "", Response(502, b"<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"})
        return kind, response


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours."""


def _handler(server: VenueServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            server._sockets.add(self.connection)

        def finish(self) -> None:
            server._sockets.discard(self.connection)
            super().finish()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size) if size else b""
            headers = {name.lower(): value for name, value in self.headers.items()}
            what, response = server.handle(Request(self.command, self.path, headers, body, time.time()))
            if what == "close" or response is None:
                self.close_connection = True
                return
            if what == "garbage":
                self.wfile.write(b"\x00\x01 nonsense\r\n\r\n")
                self.close_connection = True
                return
            head = [f"HTTP/1.1 {response.status} X", f"Content-Length: {len(response.body)}"]
            head += [
                f"{name}: {value}"
                for name, value in {"Content-Type": "application/json", **response.headers, **server.headers}.items()
            ]
            data = "\r\n".join([*head, "", ""]).encode() + response.body
            if what == "broken":
                self.wfile.write(data[: len(data) - len(response.body) // 2 - 1])
                self.close_connection = True
                return
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    return Handler
