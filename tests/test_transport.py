"""The transport at the socket: what left, what is known of it, and what is never said or sent again."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from Execution.common import transport
from Execution.common.errors import ExecutionError, Refused
from Execution.common.transport import Connection, Limits, NotSent, Origin, Transport, Unanswered
from tests.venues.server import Request, Response, VenueServer

SECRET = "MARKER-of-a-secret"
LIMITS = Limits(2.0, 2.0)
SHORT = Limits(0.3, 0.3)


@pytest.fixture
def server() -> Iterator[VenueServer]:
    """A server that answers each request with its own body."""
    found = VenueServer(lambda request: Response(200, request.body or b"{}"))
    yield found
    found.stop()


@pytest.fixture
def door() -> Iterator[Transport]:
    found = Transport()
    yield found
    found.close()


@contextmanager
def raw(talk: Callable[[socket.socket], Any]) -> Iterator[str]:
    """Serve connections by hand, each in a thread; answer the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                each, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=run, args=(each,), daemon=True))
            threads[-1].start()

    def run(each: socket.socket) -> None:
        with each:
            try:
                talk(each)
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in (thread, *threads):
            each.join(5)


def saying(*parts: bytes, pause: float = 0.0) -> Callable[[socket.socket], None]:
    """Answer each request of a connection with these bytes, then hang up."""

    def talk(each: socket.socket) -> None:
        each.recv(65536)
        for part in parts:
            each.sendall(part)
            time.sleep(pause)

    return talk


def post(door: Transport, url: str, body: bytes = b'{"a": 1}', limits: Limits = LIMITS, **more: Any) -> Any:
    headers = {"X-KEY": SECRET, "Content-Type": "application/json"}
    return door.send("POST", f"{url}/order?signature={SECRET}", headers, body, limits=limits, **more)


def failure(error: type[ExecutionError], code: str, door: Transport, url: str, **more: Any) -> ExecutionError:
    """Answer the error of a request that must fail so; it says nothing of what was sent."""
    with pytest.raises(error) as caught:
        post(door, url, **more)
    assert caught.value.code == code
    assert caught.value.outcome == ("not_sent" if error is NotSent else "unknown")
    assert SECRET not in f"{caught.value!r} {caught.value} {caught.value.message}"
    assert caught.value.__cause__ is None
    return caught.value


# -- what is answered


def test_an_answer_is_answered_whatever_its_status(server: VenueServer, door: Transport) -> None:
    reply = post(door, server.url)
    assert (reply.status, reply.json(), reply.text) == (200, {"a": 1}, '{"a": 1}')
    assert reply.headers["content-type"] == "application/json"
    server.fault("limited")
    reply = post(door, server.url)
    assert (reply.status, reply.retry_after) == (429, 1.0)
    server.fault("error")
    assert post(door, server.url).status == 503
    (first, *_) = server.requests
    assert first.target == f"/order?signature={SECRET}"
    assert (first.headers["x-key"], first.body) == (SECRET, b'{"a": 1}')
    assert first.headers["user-agent"] == "Execution"
    door.send("GET", server.url, {"User-Agent": "mine"}, limits=LIMITS)
    assert server.requests[-1].headers["user-agent"] == "mine"


def test_a_body_that_is_no_json_is_unknown(server: VenueServer, door: Transport) -> None:
    for body, status, code in (
        (b"<html>", 200, "BAD_RESPONSE"),
        (b"", 502, "VENUE_DOWN"),
        (b"[" * 100000, 200, "BAD_RESPONSE"),
    ):
        reply = transport.Reply("host", status, {}, body)
        with pytest.raises(Unanswered) as caught:
            reply.json()
        assert (caught.value.code, caught.value.outcome) == (code, "unknown")
    assert transport.Reply("host", 429, {"retry-after": "1e9"}, b"").retry_after is None


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", b"lo\r\n0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhel", b"lo"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
        [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\n\r", b"\nhel", b"lo"],
    ],
    ids=["chunked", "to the end", "interim", "in pieces"],
)
def test_answers_of_every_framing(door: Transport, parts: list[bytes]) -> None:
    with raw(saying(*parts, pause=0.02)) as url:
        reply = post(door, url)
    assert (reply.status, reply.body) == (200, b"hello")


# -- what failed, and whether anything left


def test_nobody_listens(door: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert "refused" in failure(NotSent, "VENUE_DOWN", door, url).message


def test_a_name_that_cannot_be(door: Transport) -> None:
    failure(NotSent, "VENUE_DOWN", door, f"https://{'a' * 64}.localhost")


def test_no_connection_in_time(door: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        where = listener.getsockname()
        fill = [socket.socket() for _ in range(4)]
        for each in fill:
            each.setblocking(False)
            each.connect_ex(where)
        time.sleep(0.05)
        failure(NotSent, "TIMEOUT", door, f"http://127.0.0.1:{where[1]}", limits=SHORT)
        for each in fill:
            each.close()


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("refuse", "VENUE_DOWN"),
        ("drop", "VENUE_DOWN"),
        ("broken", "VENUE_DOWN"),
        ("garbage", "BAD_RESPONSE"),
        ("silent", "TIMEOUT"),
    ],
)
def test_what_left_and_got_no_answer_is_unknown_and_was_sent_once(
    server: VenueServer, door: Transport, kind: str, code: str
) -> None:
    for _ in range(2):  # on a new connection, and on one that was used before
        before = len(server.requests)
        server.fault(kind)
        failure(Unanswered, code, door, server.url, limits=SHORT)
        assert len(server.requests) == before + 1
        assert post(door, server.url).status == 200


def test_an_answer_that_never_ends_is_cut_at_the_deadline(door: Transport) -> None:
    def drip(each: socket.socket) -> None:
        each.recv(65536)
        each.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100):
            each.sendall(b"x")
            time.sleep(0.02)

    with raw(drip) as url:
        started = time.monotonic()
        failure(Unanswered, "TIMEOUT", door, url, limits=SHORT)
        assert time.monotonic() - started < 2.0


def test_headers_and_bodies_without_end_are_refused(door: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw(saying(b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"y" * 60000 + b"\r\n"] * 10)) as url:
        failure(Unanswered, "BAD_RESPONSE", door, url)
    monkeypatch.setattr(transport, "_LARGEST_BODY", 10)
    with raw(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100)) as url:
        failure(Unanswered, "BAD_RESPONSE", door, url)


def test_a_reset_in_the_middle_of_writing_is_unknown(door: Transport) -> None:
    def reset(each: socket.socket) -> None:
        each.recv(1000)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with raw(reset) as url:
        failure(Unanswered, "VENUE_DOWN", door, url, body=b"x" * 50_000_000)


def test_a_write_that_takes_nothing_is_not_sent(server: VenueServer) -> None:
    port = int(server.url.rpartition(":")[2])
    connection = Connection(Origin("http", "127.0.0.1", port, ""), 1.0)
    connection._socket.shutdown(socket.SHUT_WR)
    with pytest.raises(NotSent) as caught:
        connection.write(b"POST / HTTP/1.1\r\n\r\n", time.monotonic() + 1)
    assert (caught.value.code, caught.value.outcome) == ("VENUE_DOWN", "not_sent")
    with pytest.raises(NotSent) as caught:
        connection.write(b"POST / HTTP/1.1\r\n\r\n", time.monotonic() - 1)
    assert caught.value.code == "TIMEOUT"
    connection.close()
    assert server.requests == []


# -- connections


def test_connections_are_used_again_and_by_one_at_a_time(door: Transport) -> None:
    ports: list[int] = []

    def answer(request: Request) -> Response:
        return Response(200, request.body)

    server = VenueServer(answer)
    original = server.handle

    def handle(request: Request) -> Any:
        ports.append(threading.get_ident())
        return original(request)

    server.handle = handle  # type: ignore[method-assign]
    wrong: list[str] = []

    def work(number: int) -> None:
        for count in range(50):
            body = f'{{"id": "{number}-{count}"}}'.encode()
            if post(door, server.url, body).body != body:
                wrong.append(f"{number}-{count}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.stop()
    assert wrong == []
    assert len(ports) == 400
    assert len(set(ports)) <= 8


def test_a_connection_that_was_closed_meanwhile_is_not_used(door: Transport) -> None:
    seen: list[bytes] = []

    def once(each: socket.socket) -> None:
        seen.append(each.recv(65536))
        each.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with raw(once) as url:
        for _ in range(3):
            assert post(door, url).status == 200
            time.sleep(0.05)
    assert len(seen) == 3


def test_a_connection_that_says_more_than_it_was_asked_is_not_used_again(door: Transport) -> None:
    def chatty(each: socket.socket) -> None:
        each.recv(65536)
        each.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        each.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nnot ours")
        each.recv(65536)

    with raw(chatty) as url:
        assert post(door, url).body == b"{}"
        time.sleep(0.05)
        assert post(door, url).body == b"{}"


def test_what_the_server_wants_closed_is_closed_and_old_connections_are_not_kept(
    server: VenueServer, door: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")) as url:
        post(door, url)
        assert not any(door._idle.values())
    post(door, server.url)
    monkeypatch.setattr(transport, "_LONGEST_IDLE", 0.0)
    (idle,) = [each for each in door._idle.values() if each]
    old = idle[0]
    assert post(door, server.url).status == 200
    assert old._socket.fileno() == -1
    monkeypatch.setattr(transport, "_MOST_IDLE", 0)
    assert post(door, server.url).status == 200
    assert not any(door._idle.values())
    door.warm(server.url, limits=LIMITS)


def test_a_forked_child_leaves_its_parents_connections_alone(server: VenueServer) -> None:
    assert transport.send("POST", server.url, {}, b"{}").status == 200
    child = os.fork()
    if child == 0:
        fine = not transport.shared._idle and transport.send("POST", server.url, {}, b"{}").status == 200
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert transport.send("POST", server.url, {}, b"{}").status == 200
    transport.shared.close()


# -- what cannot be sent


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("ftp://127.0.0.1", {}),
        ("http://", {}),
        ("http://127.0.0.1:99999", {}),
        ("http://user:word@127.0.0.1", {}),
        ("http://203.0.113.1", {}),
        ("http://127.0.0.1/a b", {}),
        ("http://127.0.0.1/a\r\nX: y", {}),
        ("http://127.0.0.1", {"X": "a\r\nY: b"}),
        ("http://127.0.0.1", {"X": "\u20ac"}),
    ],
)
def test_what_cannot_be_sent_is_refused(door: Transport, url: str, headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        door.send("GET", url, headers, limits=LIMITS)
    assert (caught.value.code, caught.value.outcome) == ("CONFIGURATION", "not_sent")
    assert "word" not in caught.value.message or "user" in url


def test_settings_of_the_transport(server: VenueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_READ_TIMEOUT", "0.2")
    server.fault("silent")
    with pytest.raises(Unanswered):
        transport.send("GET", f"{server.url}/x", {})
    monkeypatch.setenv("EXECUTION_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(Refused, match="EXECUTION_PROXY"):
        transport.send("GET", server.url, {})
    monkeypatch.setenv("EXECUTION_PROXY", "")
    monkeypatch.setenv("EXECUTION_CA_FILE", "/nowhere/roots.pem")
    with pytest.raises(NotSent, match="EXECUTION_CA_FILE"):
        transport.send("GET", server.url.replace("http", "https"), {})


# -- TLS


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    found = trustme.CA()
    found.cert_pem.write_to_path(tmp_path / "roots.pem")
    monkeypatch.setenv("EXECUTION_CA_FILE", str(tmp_path / "roots.pem"))
    return found


@contextmanager
def tls(authority: trustme.CA, name: str = "127.0.0.1") -> Iterator[str]:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    def talk(each: socket.socket) -> None:
        with context.wrap_socket(each, server_side=True) as wrapped:
            while wrapped.recv(65536):
                wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with raw(talk) as url:
        yield url.replace("http://", "https://")


def test_tls_is_verified(roots: trustme.CA, door: Transport) -> None:
    with tls(roots) as url:
        assert post(door, url).body == b"{}"
        assert post(door, url).body == b"{}"
        door.close()
    with tls(trustme.CA()) as url:
        assert "certificate" in failure(NotSent, "VENUE_DOWN", door, url).message
    with tls(roots, "elsewhere.example") as url:
        assert "certificate" in failure(NotSent, "VENUE_DOWN", door, url).message


def test_without_a_setting_the_roots_are_certifis(door: Transport) -> None:
    with tls(trustme.CA()) as url:
        assert "certificate" in failure(NotSent, "VENUE_DOWN", door, url).message


def test_what_is_no_tls_is_not_sent(roots: trustme.CA, door: Transport, server: VenueServer) -> None:
    assert "TLS" in failure(NotSent, "VENUE_DOWN", door, server.url.replace("http", "https")).message
    with raw(lambda each: each.recv(1) and time.sleep(1)) as url:
        failure(NotSent, "TIMEOUT", door, url.replace("http", "https"), limits=SHORT)
    assert server.requests == []


def tunnel(status: bytes) -> Callable[[socket.socket], None]:
    """A proxy that connects to whom it is asked for, or says another status."""

    def talk(each: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += each.recv(1)
        each.sendall(b"HTTP/1.1 " + status + b" X\r\nVia: us\r\n\r\n")
        host, _, port = head.split(b" ")[1].decode().partition(":")
        with socket.create_connection((host, int(port))) as there:
            back = threading.Thread(target=pump, args=(there, each), daemon=True)
            back.start()
            pump(each, there)
            back.join(2)

    return talk


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_a_proxy_that_is_set(roots: trustme.CA, door: Transport) -> None:
    with tls(roots) as url, raw(tunnel(b"200")) as proxy, raw(tunnel(b"403")) as closed:
        assert post(door, url, proxy=proxy).body == b"{}"
        assert "403" in failure(NotSent, "VENUE_DOWN", door, url, proxy=closed).message
        with raw(lambda each: each.recv(10)) as mute:
            failure(NotSent, "VENUE_DOWN", door, url, proxy=mute)
        door.close()
