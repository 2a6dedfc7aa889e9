"""The one door to the network for HTTP: every venue's SDK builds and signs, this sends.

    send(method, url, headers, body) -> Reply         whatever the status is
                                     -> NotSent       nothing left: no name, no connection, no TLS, nothing written
                                     -> Unanswered    it left, or a part of it, and no whole answer came back: unknown

One request is written once and never again, whatever happens to it. Connections are kept warm and shared by all
threads; one that the other side has closed meanwhile is noticed before it is used. TLS is always verified. Nothing here
ever says more of a request than its host: paths and headers carry keys and signatures.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from select import POLLIN, poll
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httptools

from Execution.common import settings, store
from Execution.common.errors import ExecutionError, Outcome, Refused
from Execution.common.replies import on_reply

_MOST_IDLE = 64
_LONGEST_IDLE = 20.0
_LARGEST_BODY = 64 << 20
_LARGEST_HEADERS = 256 << 10
_CHUNK = 1 << 16


class NotSent(ExecutionError):
    """Nothing of the request has left."""

    outcome: Outcome = "not_sent"


class Unanswered(ExecutionError):
    """The request, or a part of it, has left, and there is no answer that can be read."""

    outcome: Outcome = "unknown"


class Reply:
    """What a server answered. `headers` have lower-case names."""

    __slots__ = ("body", "headers", "host", "status")

    def __init__(self, host: str, status: int, headers: dict[str, str], body: bytes) -> None:
        self.host = host
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        """The body as text; bytes that are none are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Answer the body as JSON.

        Raises:
            Unanswered: BAD_RESPONSE, or VENUE_DOWN of a server error: what became of the request is not known.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise self.unreadable() from None

    def unreadable(self) -> Unanswered:
        """Answer the error of a reply that is not what the venue documents."""
        if self.status >= 500:
            return Unanswered("VENUE_DOWN", f"{self.host} answered {self.status}", exchange_code=str(self.status))
        words = f"{self.host} answered {self.status} with {len(self.body)} bytes that cannot be read"
        return Unanswered("BAD_RESPONSE", words, exchange_code=str(self.status))

    @property
    def retry_after(self) -> float | None:
        """The seconds that the server asks to wait, where it does."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


class Origin(NamedTuple):
    """Whom a connection is to."""

    scheme: str
    host: str
    port: int
    proxy: str


class Limits(NamedTuple):
    """Seconds for a connection to stand, and from then for the whole answer to be there."""

    connect: float
    read: float


class _Parser:
    """Collects one response. The parsing itself is llhttp's."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.status = 0
        self.is_complete = False
        self.has_more = False
        self._size = 0
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        """Begin anew after an interim response (1xx); what comes after the answer is not ours."""
        if self.is_complete:
            self.has_more = True
            return
        self.headers, self.parts, self._size = {}, [], 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        if not self.has_more:
            self._count(len(name) + len(value), _LARGEST_HEADERS)
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """From here on the size is the body's."""
        self._size = 0

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if not self.has_more:
            self._count(len(body), _LARGEST_BODY)
            self.parts.append(body)

    def on_message_complete(self) -> None:
        """Stop, unless it was an interim response."""
        if not self.has_more:
            self.status = self.parser.get_status_code()
            self.is_complete = self.status >= 200

    def end(self) -> bool:
        """Tell whether the end of the connection is that of the answer: where nothing said how long it is."""
        if self.headers and not {"content-length", "transfer-encoding"} & self.headers.keys():
            self.status = self.parser.get_status_code()
            self.is_complete = self.status >= 200
        return self.is_complete

    def _count(self, size: int, most: int) -> None:
        self._size += size
        if self._size > most:
            raise ValueError("too large")


class Connection:
    """One socket to one origin, used by one request at a time."""

    def __init__(self, origin: Origin, timeout: float) -> None:
        until = time.monotonic() + timeout
        self.origin = origin
        self.idle_since = 0.0
        self._has_more = False
        self._timeout = 0.0
        try:
            self._socket = self._connect(origin, until)
        except NotSent:
            raise
        except (OSError, UnicodeError, ValueError) as error:
            raise _not_connected(origin, error) from None
        self._watch = poll()
        self._watch.register(self._socket.fileno(), POLLIN)

    @staticmethod
    def _connect(origin: Origin, until: float) -> socket.socket:
        where = (origin.host, origin.port)
        if origin.proxy:
            proxy = urlsplit(origin.proxy)
            where = (proxy.hostname or "", proxy.port or 8080)
        found = socket.create_connection(where, _left(until))
        try:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if origin.proxy:
                _tunnel(found, origin, until)
            if origin.scheme == "https":
                found.settimeout(_left(until))
                found = tls_context().wrap_socket(found, server_hostname=origin.host)
        except BaseException:
            found.close()
            raise
        return found

    @property
    def is_usable(self) -> bool:
        """Whether it is still silent and young; what can be read while nothing was asked is its end."""
        return time.monotonic() - self.idle_since < _LONGEST_IDLE and not self._watch.poll(0)

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._socket.close()

    def _wait_until(self, until: float) -> None:
        """Have the next call on the socket end by then, or a tenth later: setting it costs a system call each time."""
        left = _left(until)
        if not 0.9 * self._timeout <= left <= self._timeout:
            self._socket.settimeout(left)
            self._timeout = left

    def write(self, data: bytes, until: float) -> None:
        """Write a request, once.

        Raises:
            NotSent: not a byte of it was taken.
            Unanswered: a part of it was.
        """
        view, written = memoryview(data), 0
        try:
            while written < len(data):
                self._wait_until(until)
                written += self._socket.send(view[written:])
        except OSError as error:
            failed = Unanswered if written else NotSent
            words = f"the connection to {self.origin.host} failed after {written} of {len(data)} bytes: {_why(error)}"
            raise failed("TIMEOUT" if isinstance(error, TimeoutError) else "VENUE_DOWN", words) from None

    def read(self, until: float) -> Reply:
        """Read the answer.

        Raises:
            Unanswered: TIMEOUT, VENUE_DOWN where it was cut, BAD_RESPONSE where it is no HTTP.
        """
        parser, host = _Parser(), self.origin.host
        try:
            while not parser.is_complete:
                self._wait_until(until)
                data = self._socket.recv(_CHUNK)
                if not data:
                    if parser.end():
                        break
                    raise Unanswered("VENUE_DOWN", f"{host} closed the connection without a whole answer")
                parser.parser.feed_data(data)
        except TimeoutError:
            raise Unanswered("TIMEOUT", f"no answer from {host} in time") from None
        except OSError as error:
            raise Unanswered("VENUE_DOWN", f"the connection to {host} was lost: {_why(error)}") from None
        except httptools.HttpParserError as error:
            raise Unanswered("BAD_RESPONSE", f"{host} answered no HTTP: {type(error).__name__}") from None
        self._has_more = parser.has_more
        return Reply(host, parser.status, parser.headers, b"".join(parser.parts))

    def may_stay(self, reply: Reply) -> bool:
        """Tell whether another request may follow on it."""
        return (
            not self._has_more
            and reply.headers.get("connection", "").lower() != "close"
            and ("content-length" in reply.headers or "transfer-encoding" in reply.headers)
        )


class Transport:
    """Warm connections for any number of threads; the connections of a process that forked stay with its parent."""

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[Connection]] = {}

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, limits: Limits, proxy: str = ""
    ) -> Reply:
        """Send one request once, and answer the reply, whatever its status.

        Raises:
            NotSent: TIMEOUT, VENUE_DOWN: nothing left.
            Unanswered: TIMEOUT, VENUE_DOWN, BAD_RESPONSE: what became of it is not known.
            Refused: CONFIGURATION, of an address or a header that cannot be sent.
        """
        origin, target = _parts(url, proxy)
        data = _request(method, origin, target, headers, body)
        connection = self._take(origin) or Connection(origin, limits.connect)
        until = time.monotonic() + limits.read
        try:
            connection.write(data, until)
            reply = connection.read(until)
        except BaseException:
            connection.close()
            raise
        if connection.may_stay(reply):
            self._give(connection)
        else:
            connection.close()
        return reply

    def warm(self, url: str, *, limits: Limits, proxy: str = "") -> None:
        """Open a connection ahead of the first request."""
        self._give(Connection(_parts(url, proxy)[0], limits.connect))

    def close(self) -> None:
        """Close what is idle."""
        for connections in list(self._idle.values()):
            with suppress(IndexError):
                while True:
                    connections.pop().close()

    def forget(self) -> None:
        """Let go of what belongs to the parent process, without a word to the other side."""
        self._idle = {}

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            try:
                connection = idle.pop()
            except IndexError:
                return None
            if connection.is_usable:
                return connection
            connection.close()
        return None

    def _give(self, connection: Connection) -> None:
        connection.idle_since = time.monotonic()
        idle = self._idle.get(connection.origin)
        if idle is None:
            idle = self._idle.setdefault(connection.origin, deque())
        if len(idle) < _MOST_IDLE:
            idle.append(connection)
        else:
            connection.close()


shared = Transport()
"""The connections of this process."""

store.on_fork(shared.forget)


def send(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
    """Send one request over the shared connections, within the times of the settings; see `Transport.send`."""
    connect, read, proxy = _settings(
        settings.get("EXECUTION_CONNECT_TIMEOUT"),
        settings.get("EXECUTION_READ_TIMEOUT"),
        settings.get("EXECUTION_PROXY"),
    )
    reply = shared.send(method, url, headers, body, limits=Limits(connect, read), proxy=proxy)
    tell = on_reply.get()
    if tell is not None:
        tell(reply.host, reply.headers)
    return reply


@lru_cache(maxsize=16)
def _settings(connect: str, read: str, proxy: str) -> tuple[float, float, str]:
    if proxy and urlsplit(proxy).scheme != "http":
        raise Refused("CONFIGURATION", "EXECUTION_PROXY must begin with http://")
    return (
        settings.number("EXECUTION_CONNECT_TIMEOUT", least=0.001, value=connect),
        settings.number("EXECUTION_READ_TIMEOUT", least=0.001, value=read),
        proxy,
    )


@lru_cache(maxsize=1)
def _tls_context(bundle: str) -> ssl.SSLContext:
    if not bundle:
        import certifi

        bundle = certifi.where()
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise NotSent(
            "CONFIGURATION", f"EXECUTION_CA_FILE {bundle} cannot be used: {error.strerror or error}"
        ) from None


def tls_context() -> ssl.SSLContext:
    """Answer what TLS is verified by: EXECUTION_CA_FILE, else the roots of certifi."""
    with _making:
        return _tls_context(settings.get("EXECUTION_CA_FILE"))


_making = threading.Lock()


@lru_cache(maxsize=4096)
def _base(base: str, proxy: str) -> Origin:
    parts = urlsplit(base)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.username is not None:
        raise Refused("CONFIGURATION", f"not an address of a server: {base!r:.80}")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise Refused("CONFIGURATION", f"{parts.hostname} must be reached by https: only this machine may do without")
    return Origin(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), proxy)


def _parts(url: str, proxy: str) -> tuple[Origin, str]:
    scheme, _, rest = url.partition("://")
    host, slash, target = rest.partition("/")
    if not slash:
        host, mark, target = rest.partition("?")
        target = mark + target
    # Without TLS there is only this machine, and no proxy on the way to it.
    return _base(f"{scheme}://{host}", proxy if scheme == "https" else ""), f"/{target}"


_FORBIDDEN = ("\r", "\n", "\0")


def _request(method: str, origin: Origin, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Write a request down; what would be two is refused."""
    host = origin.host if origin.port in (80, 443) else f"{origin.host}:{origin.port}"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in _OURS]
    if "User-Agent" not in headers:
        lines.append(_AGENT)  # some venues' front doors turn away who has no name
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    text = "".join(lines)
    if any([mark in text for mark in _FORBIDDEN]) or " " in target:  # noqa: C419  # no generator on the hot path
        raise Refused("CONFIGURATION", f"a request to {origin.host} holds a line break or a blank where none may be")
    try:
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    except UnicodeEncodeError:
        raise Refused("CONFIGURATION", f"a request to {origin.host} holds characters that HTTP has none for") from None


_AGENT = "User-Agent: Execution"
_OURS = frozenset(("accept-encoding", "connection", "content-length", "host", "transfer-encoding"))


def _tunnel(found: socket.socket, origin: Origin, until: float) -> None:
    """Have a proxy connect us to the origin."""
    where = f"{origin.host}:{origin.port}"
    found.settimeout(_left(until))
    found.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode("latin-1"))
    answer = b""
    while b"\r\n\r\n" not in answer:
        found.settimeout(_left(until))
        data = found.recv(1)  # what follows the blank line is the other side's
        if not data or len(answer) > _CHUNK:
            raise NotSent("VENUE_DOWN", f"the proxy did not connect to {origin.host}")
        answer += data
    status = answer.split(b" ", 2)[1:2]
    if status != [b"200"]:
        code = status[0][:3].decode("latin-1") if status else "nothing"
        raise NotSent("VENUE_DOWN", f"the proxy answered {code} for {origin.host}")


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _not_connected(origin: Origin, error: Exception) -> NotSent:
    if isinstance(error, TimeoutError):
        return NotSent("TIMEOUT", f"no connection to {origin.host}:{origin.port} in time")
    return NotSent("VENUE_DOWN", f"no connection to {origin.host}:{origin.port}: {_why(error)}")


def _why(error: Exception) -> str:
    """Say what failed in the words of the system, which know nothing of the request."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return type(error).__name__
