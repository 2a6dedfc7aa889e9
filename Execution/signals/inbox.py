"""Where a running loop takes its signals from: a queue, standard input, a file or a folder that is being written to.

A file holds one JSON object per line. What was carried out is remembered in the store by position, and each signal
without a key of its own gets one from file, position and content: a loop that is killed and started again loses none
and repeats none. Files are appended to; one that is found shorter, or with another first line, was begun anew and is
read from its beginning.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from Execution.common import log
from Execution.order_manager import OrderManager

_LONGEST_LINE = 1_000_000
_HEAD = 4096


class Entry(msgspec.Struct):
    """One thing to carry out. `problem` says why it cannot be read; `key` is used where the signal has none.

    `origin` is the source object that it came from.
    """

    source: str
    position: int
    content: Any = None
    key: str = ""
    problem: str = ""
    acknowledge: Callable[[], None] | None = None
    origin: object = None


class Source(Protocol):
    """Something that signals come from."""

    def entries(self, stopping: threading.Event, follow: bool) -> Iterator[Entry]:
        """Yield entries until `stopping` is set, or (without `follow`) until there are no more."""
        ...


def open_source(source: object, orders: OrderManager) -> Source:
    """Answer the source that a queue, "-", a path of a file or of a folder stands for."""
    if isinstance(source, (queue.Queue, queue.SimpleQueue)):
        return QueueSource(source)
    if source == "-":
        return StreamSource(sys.stdin)
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        return FolderSource(path, orders) if path.is_dir() else FileSource(path, orders)
    if hasattr(source, "entries"):
        return source
    raise ValueError(f"signals come from a queue, '-', a file or a folder, not {source!r:.80}")


class QueueSource:
    """A queue of this process: dicts; None ends it."""

    def __init__(self, items: queue.Queue[Any] | queue.SimpleQueue[Any]) -> None:
        self._items = items
        self._count = 0

    def entries(self, stopping: threading.Event, follow: bool) -> Iterator[Entry]:
        """Yield what is put into the queue."""
        while not stopping.is_set():
            try:
                item = self._items.get(timeout=0.05) if follow else self._items.get_nowait()
            except queue.Empty:
                if follow:
                    continue
                return
            if item is None:
                return
            self._count += 1
            yield Entry("queue", self._count, content=item, origin=self)

    def give_back(self, entries: list[Entry]) -> None:
        """Put what was taken and not carried out back at the head, for whoever reads the queue next."""
        given = [entry.content for entry in sorted(entries, key=lambda entry: entry.position)]
        items = self._items
        if isinstance(items, queue.Queue) and isinstance(items.queue, deque):
            # Past `put`: the queue may be full again, and nobody is there to empty it.
            with items.mutex:
                items.queue.extendleft(reversed(given))
                items.not_empty.notify(len(given))
            return
        while True:
            try:
                given.append(items.get_nowait())
            except queue.Empty:
                break
        for item in given:
            items.put(item)


class StreamSource:
    """Lines of a stream that cannot be read twice, such as standard input."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def entries(self, stopping: threading.Event, follow: bool) -> Iterator[Entry]:  # noqa: ARG002
        """Yield one entry for each line, to the end of the stream."""
        lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # Reading blocks and cannot be interrupted: a daemon thread does it, so that a stop need not wait for it.
        threading.Thread(target=self._pump, args=(lines.put,), name="execution-stdin", daemon=True).start()
        number = 0
        while not stopping.is_set():
            try:
                line = lines.get(timeout=0.05)
            except queue.Empty:
                continue
            if line is None:
                return
            number += 1
            if not _is_blank(line):
                yield read_line("stdin", number, line)

    def _pump(self, put: Callable[[bytes | None], None]) -> None:
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError, AttributeError):
            descriptor = -1
        try:
            if descriptor < 0:
                for text in self._stream:
                    put(text.encode("utf-8", "surrogatepass"))
            else:
                # Not through the stream: it would end at the first byte that is no text.
                _pump_descriptor(descriptor, put)
        except (OSError, ValueError) as error:
            log.error(f"standard input cannot be read any further: {error}")
        finally:
            put(None)


def _pump_descriptor(descriptor: int, put: Callable[[bytes | None], None]) -> None:
    rest, skipping = b"", False
    while data := os.read(descriptor, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if not skipping:
                put(line)
            skipping = False
        if len(rest) >= _LONGEST_LINE:
            if not skipping:
                put(rest)
            rest, skipping = b"", True
    if rest and not skipping:
        put(rest)


class FileSource:
    """A file that is being appended to. Remembers in the store how far it was carried out."""

    def __init__(self, path: Path, orders: OrderManager) -> None:
        self.path = path
        self._orders = orders
        self._beginning = ""
        self._name = ""
        self._position = 0
        self._was_cut = False
        self._trouble = ""
        self._open: deque[list[int]] = deque()
        self._lock = threading.Lock()

    def entries(self, stopping: threading.Event, follow: bool) -> Iterator[Entry]:
        """Yield one entry for each complete line; a file that is not there yet is waited for."""
        while not stopping.is_set():
            yield from self.poll(final=not follow)
            if not follow:
                return
            stopping.wait(0.02)

    def poll(self, final: bool = False) -> Iterator[Entry]:
        """Yield what was appended since the last look.

        Args:
            final: there is no other look: a last line that is not complete is told of. It is read when it is.
        """
        try:
            yield from self._read(final)
            self._trouble = ""
        except FileNotFoundError:
            return
        except OSError as error:
            yield from self._unreadable(error, final)

    def _read(self, final: bool) -> Iterator[Entry]:
        with self.path.open("rb") as stream:
            if not self._recognise(stream, final):
                return
            stream.seek(self._position)
            while line := stream.readline(_LONGEST_LINE):
                start = self._position
                end = start + len(line)
                if not line.endswith(b"\n") and not _is_whole(line):
                    rest = _skip_line(stream) if len(line) >= _LONGEST_LINE else None
                    if rest is None:
                        if final:
                            yield Entry(self._name, end, problem=f"the last line is not complete: {line[:120]!r}")
                        return
                    end += rest
                self._position = end
                yield from self._entries_of(line, start)

    def _unreadable(self, error: OSError, final: bool) -> Iterator[Entry]:
        """Say once that the file cannot be read; it may be given its rights while the loop runs."""
        words = f"{self.path} cannot be read: {error.strerror or error}"
        if final:
            yield Entry(str(self.path), 0, problem=words)
        elif words != self._trouble:
            log.error(words)
        self._trouble = words

    def _recognise(self, stream: IO[bytes], final: bool) -> bool:
        """Find out whether this is the file that was read before, and from where to go on; False: too early to tell."""
        size = stream.seek(0, 2)
        stream.seek(0)
        first = stream.readline(_HEAD)
        if size < self._position:
            self._was_cut = True
        if not (final or first.endswith(b"\n") or len(first) == _HEAD or _is_whole(first)):
            return False
        # The newline of the first line may follow later: that makes no other file of it.
        beginning = f"{self.path.resolve()}|{hashlib.sha256(first.rstrip()).hexdigest()[:16]}"
        if beginning == self._beginning and not self._was_cut:
            return True
        count, name, stored = self._newest(beginning)
        if (stored or 0) > size or (self._was_cut and beginning == self._beginning):
            name, stored = f"{beginning}|{count + 1}", 0
            self._orders.set_inbox_position(name, 0)
        self._beginning, self._name, self._position, self._was_cut = beginning, name, stored or 0, False
        self._open = deque()
        return True

    def _newest(self, beginning: str) -> tuple[int, str, int | None]:
        """Answer how often a file was begun anew with the same first line, its name since then, and its position."""
        count, name, stored = 0, beginning, self._orders.inbox_position(beginning)
        while (later := self._orders.inbox_position(f"{beginning}|{count + 1}")) is not None:
            count, name, stored = count + 1, f"{beginning}|{count + 1}", later
        return count, name, stored

    def _entries_of(self, line: bytes, start: int) -> Iterator[Entry]:
        name, opened = self._name, self._open
        mark = [self._position, _is_blank(line)]
        with self._lock:
            if mark[1] and not opened:
                return
            opened.append(mark)
        if mark[1]:
            return
        entry = read_line(name, mark[0], line)
        # The same key whether its newline was there already or not.
        entry.key = "inbox:" + hashlib.sha256(f"{name}@{start}|".encode() + line.rstrip()).hexdigest()
        entry.acknowledge = lambda: self._done(mark, opened, name)
        yield entry

    def _done(self, mark: list[int], opened: deque[list[int]], name: str) -> None:
        """Remember the end of the last entry before which everything is carried out."""
        with self._lock:
            mark[1] = True
            reached = -1
            while opened and opened[0][1]:
                reached = opened.popleft()[0]
            if reached >= 0:
                self._orders.set_inbox_position(name, reached)


def _skip_line(stream: IO[bytes]) -> int | None:
    """Read on to the end of the line; answer how many bytes that were, None where it has no end yet."""
    count = 0
    while part := stream.readline(_LONGEST_LINE):
        count += len(part)
        if part.endswith(b"\n"):
            return count
    return None


class FolderSource:
    """A folder of such files (*.json, *.jsonl, *.ndjson); new ones are found as they appear."""

    _ENDINGS = (".json", ".jsonl", ".ndjson")

    def __init__(self, path: Path, orders: OrderManager) -> None:
        self._path = path
        self._orders = orders
        self._files: dict[Path, FileSource] = {}

    def entries(self, stopping: threading.Event, follow: bool) -> Iterator[Entry]:
        """Yield the entries of every file, file by file in the order of their names."""
        while not stopping.is_set():
            for path in self._paths():
                source = self._files.setdefault(path, FileSource(path, self._orders))
                yield from source.poll(final=not follow)
            if not follow:
                return
            stopping.wait(0.02)

    def _paths(self) -> list[Path]:
        try:
            return sorted(p for p in self._path.iterdir() if p.suffix in self._ENDINGS and p.is_file())
        except FileNotFoundError:
            return []


def read_line(source: str, position: int, line: bytes) -> Entry:
    """Make an entry of a line; one that is not a JSON object says so."""
    if len(line) >= _LONGEST_LINE:
        return Entry(source, position, problem=f"the line is longer than {_LONGEST_LINE} bytes")
    try:
        content = json.loads(line.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return Entry(source, position, problem=f"not JSON: {error}: {line.strip()[:120]!r}")
    if not isinstance(content, dict):
        return Entry(source, position, problem=f"not a JSON object: {line.strip()[:120]!r}")
    return Entry(source, position, content=content)


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number")


def _is_blank(line: bytes) -> bool:
    return len(line) < _LONGEST_LINE and not line.strip()


def _is_whole(line: bytes) -> bool:
    """Tell whether the last line of a growing file is complete although no newline follows yet."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
