"""Whether depth updates join up with the snapshot and with each other, by the venue's documented rule."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal

from msgspec.structs import replace

from Execution.matching.events import Depth, Gap, Snapshot

HELD = 2_000  # what waits for a snapshot: some minutes of depth at the usual rate, and a bound for a hostile file


class Continuity:
    """Orders depth against snapshots; one per symbol.

    "waiting": no snapshot yet, depth is held. "bridging": a snapshot is in, the first update must span its id.
    "joined": every update must follow its predecessor. "broken": one is missing; depth goes through, and is held as
    well, because the snapshot that heals the book may be older than what comes before it.
    """

    def __init__(self) -> None:
        self.state: Literal["waiting", "bridging", "joined", "broken"] = "waiting"
        self.last = 0
        self.stale = 0
        self.gaps = 0
        self._held: deque[Depth] = deque(maxlen=HELD)
        self._waited = 0

    def snapshot(self, snapshot: Snapshot, line: int) -> Iterator[Snapshot | Depth | Gap]:
        """Give the snapshot and the held updates it does not contain; nothing where the book is already ahead of it."""
        if self.state in ("joined", "bridging") and snapshot.update_id <= self.last:
            self.stale += 1
            return
        self.state, self.last = "bridging", snapshot.update_id
        held, self._held = self._held, deque(maxlen=HELD)
        yield snapshot
        for depth in held:
            yield from self.depth(replace(depth, time=snapshot.time), line)

    def depth(self, depth: Depth, line: int) -> Iterator[Depth | Gap]:
        """Give the update if it belongs on the book now, with a Gap before it if one before it is missing."""
        if self.state == "waiting":
            self._waited += 1
            self._held.append(depth)
            return
        if self._contained(depth):
            self.stale += 1
            return
        if depth.previous_id > self.last:
            self.state = "broken"
            yield self._gap(depth, line, "depth updates are missing")
        elif self.state != "broken":
            self.state = "joined"
        if self.state == "broken":
            self._held.append(depth)
        self.last = depth.update_id
        yield depth

    def end(self, now: float, line: int) -> Iterator[Gap]:
        """Say so if depth waited for a snapshot that never came."""
        if self.state == "waiting" and self._waited:
            self.gaps += 1
            reason = f"no snapshot: {self._waited} depth updates could not be applied"
            yield Gap(now, line, 0, self._held[-1].update_id, reason)

    def _contained(self, depth: Depth) -> bool:
        # USD-M keeps the update that ends exactly on the snapshot's id, spot drops it.
        if depth.inclusive and self.state == "bridging":
            return depth.update_id < self.last
        return depth.update_id <= self.last

    def _gap(self, depth: Depth, line: int, reason: str) -> Gap:
        self.gaps += 1
        return Gap(depth.time, line, self.last, depth.previous_id, reason)
