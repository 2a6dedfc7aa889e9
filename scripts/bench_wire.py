"""A server for benchmarks of the wire: it answers what it was told to by method and path, as fast as Python can.

    with Canned({"POST /api/v5/trade/order": (200, b'{"code": "0"}')}) as server: ... server.url

It runs in a process of its own, on the first CPU that is not ours where there is one, so that what is measured is the
client. What the requests say is not looked at; that they are right is what the tests of the venues are for.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Self

Answers = Mapping[str, tuple[int, bytes]]


class Canned:
    """The server's process. `url` is where it listens."""

    def __init__(self, answers: Answers) -> None:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        told = {name: [status, base64.b64encode(body).decode()] for name, (status, body) in answers.items()}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        self._process.stdin.flush()
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


def main() -> None:
    """Serve until standard input ends."""
    _leave_the_first_cpu()
    told = json.loads(sys.stdin.buffer.readline())
    answers = {name.encode(): _written(status, base64.b64decode(body)) for name, (status, body) in told.items()}
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=_accept, args=(listener, answers), daemon=True).start()
    sys.stdin.buffer.read()


def _leave_the_first_cpu() -> None:
    """Run on another CPU than the one that the benchmark is pinned to."""
    if not hasattr(os, "sched_setaffinity"):
        return
    rest = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
    if rest:
        os.sched_setaffinity(0, rest)


def _written(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _accept(listener: socket.socket, answers: Mapping[bytes, bytes]) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(connection, answers), daemon=True).start()


def _serve(connection: socket.socket, answers: Mapping[bytes, bytes]) -> None:
    missing = _written(404, b"{}")
    with connection:
        data = b""
        while True:
            end = data.find(b"\r\n\r\n")
            while end < 0:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
                end = data.find(b"\r\n\r\n")
            head = data[:end]
            at = head.lower().find(b"content-length:")
            size = 0 if at < 0 else int(head[at + 15 :].partition(b"\r")[0])
            while len(data) < end + 4 + size:
                data += connection.recv(65536)
            data = data[end + 4 + size :]
            method, target, _ = head.split(b" ", 2)
            connection.sendall(answers.get(method + b" " + target.partition(b"?")[0], missing))


if __name__ == "__main__":
    main()
