"""Where a running loop takes its signals from: a queue, standard input, a file or a folder that is being written to.

A file holds one JSON object per line. What was carried out is remembered in the store by position, and each signal
without a key of its own gets one from file, position and content: a loop that is killed and started again loses none
and repeats none. Files are appended to; one that was cut and begun anew is read from its beginning.
"""

from __future__ import annotations

import hashlib
import json
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from Execution.order_manager import OrderManager

_LONGEST_LINE = 1_000_000


class Entry(msgspec.Struct):
    """One thing to carry out. `problem` says why it cannot be read; `key` is used where the signal has none."""

    source: str
    position: int
    content: Any = None
    key: str = ""
    problem: str = ""
    acknowledge: Callable[[], None] | None = None


class _Mark(msgspec.Struct):
    """Where an entry of a file ends, and whether it is carried out."""

    name: str
    end: int
    done: bool = False


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
            yield Entry("queue", self._count, content=item)

    def give_back(self, entries: list[Entry]) -> None:
        """Put back what was taken and not carried out, for whoever reads the queue next."""
        for entry in entries:
            self._items.put(entry.content)


class StreamSource:
    """Lines of a stream that cannot be read twice, such as standard input."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def entries(self, stopping: threading.Event, follow: bool) -> Iterator[Entry]:  # noqa: ARG002
        """Yield one entry for each line, to the end of the stream."""
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # Reading blocks and cannot be interrupted: a daemon thread does it, so that a stop need not wait for it.
        threading.Thread(target=self._pump, args=(lines,), name="execution-stdin", daemon=True).start()
        number = 0
        while not stopping.is_set():
            try:
                line = lines.get(timeout=0.05)
            except queue.Empty:
                continue
            if line is None:
                return
            number += 1
            if line.strip():
                yield read_line("stdin", number, line)

    def _pump(self, lines: queue.SimpleQueue[str | None]) -> None:
        try:
            for line in self._stream:
                lines.put(line)
        except (OSError, ValueError, UnicodeDecodeError):
            pass
        finally:
            lines.put(None)


class FileSource:
    """A file that is being appended to. Remembers in the store how far it was carried out."""

    def __init__(self, path: Path, orders: OrderManager) -> None:
        self.path = path
        self._orders = orders
        self._name = ""
        self._position = -1
        self._open: deque[_Mark] = deque()
        self._lock = threading.Lock()

    def entries(self, stopping: threading.Event, follow: bool) -> Iterator[Entry]:
        """Yield one entry for each complete line; a file that is not there yet is waited for."""
        while not stopping.is_set():
            yield from self.poll(final=not follow)
            if not follow:
                return
            stopping.wait(0.02)

    def poll(self, final: bool = False) -> Iterator[Entry]:
        """Yield what was appended since the last look."""
        try:
            with self.path.open("rb") as stream:
                self._recognise(stream)
                stream.seek(self._position)
                while line := stream.readline(_LONGEST_LINE):
                    if not line.endswith(b"\n") and not (final or _is_whole(line)) and len(line) < _LONGEST_LINE:
                        return
                    start, self._position = self._position, self._position + len(line)
                    if line.strip():
                        yield self._entry(line, start)
                    else:
                        self._passed(self._position)
        except FileNotFoundError:
            return

    def _recognise(self, stream: IO[bytes]) -> None:
        """Find out whether this is the file that was read before, and from where to go on."""
        size = stream.seek(0, 2)
        stream.seek(0)
        # Its newline may follow later: that makes no other file of it.
        head = hashlib.sha256(stream.readline(4096).rstrip()).hexdigest()[:16]
        name = f"{self.path.resolve()}|{head}"
        if self._name == name and size >= self._position:
            return
        generation = 0
        stored = self._orders.inbox_position(name)
        while stored is not None and stored > size:
            generation += 1
            stored = self._orders.inbox_position(f"{name}|{generation}")
        self._name = f"{name}|{generation}" if generation else name
        self._position = stored or 0

    def _entry(self, line: bytes, start: int) -> Entry:
        mark = _Mark(self._name, self._position)
        with self._lock:
            self._open.append(mark)
        entry = read_line(self._name, self._position, line.decode("utf-8", "replace"))
        # The same key whether its newline was there already or not.
        entry.key = f"inbox:{hashlib.sha256(f'{self._name}@{start}|'.encode() + line.rstrip()).hexdigest()}"
        entry.acknowledge = lambda: self._done(mark)
        return entry

    def _passed(self, end: int) -> None:
        with self._lock:
            if not self._open:
                return
            self._open.append(_Mark(self._name, end, done=True))

    def _done(self, mark: _Mark) -> None:
        """Remember the end of the last entry before which everything is carried out, of each file it came from."""
        reached: dict[str, int] = {}
        with self._lock:
            mark.done = True
            while self._open and self._open[0].done:
                ended = self._open.popleft()
                reached[ended.name] = ended.end
        for name, end in reached.items():
            self._orders.set_inbox_position(name, end)


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
            for path in sorted(p for p in self._path.iterdir() if p.suffix in self._ENDINGS and p.is_file()):
                source = self._files.setdefault(path, FileSource(path, self._orders))
                yield from source.poll(final=not follow)
            if not follow:
                return
            stopping.wait(0.02)


def read_line(source: str, position: int, line: str) -> Entry:
    """Make an entry of a line; one that is not a JSON object says so."""
    if len(line) >= _LONGEST_LINE:
        return Entry(source, position, problem=f"the line is longer than {_LONGEST_LINE} characters")
    try:
        content = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return Entry(source, position, problem=f"not JSON: {error}: {line.strip()[:120]!r}")
    if not isinstance(content, dict):
        return Entry(source, position, problem=f"not a JSON object: {line.strip()[:120]!r}")
    return Entry(source, position, content=content)


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number")


def _is_whole(line: bytes) -> bool:
    """Tell whether the last line of a growing file is complete although no newline follows yet."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
