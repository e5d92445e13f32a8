"""Opening ahead: streams, URLs and bounties become artifacts in a thread beside a scan that judges many at once.

A file is opened where its engine is. What only the host can read is opened here, one after another, URLs with the next
few being fetched meanwhile. An artifact that waits for its engines takes memory, or room in the spool, so that there
are only so many at a time.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.cli.fetching_ahead import fetch_ahead
from psengine_host.cli.inputs import FileInput, StreamInput
from psengine_host.cli.opening import Opener
from psengine_host.cli.parallel_turns import ParallelTurn
from psengine_host.cli.refusals import refused
from psengine_host.errors import ArtifactError, InvalidBounty, SpoolFull

__all__ = ["OpeningAhead"]

OPEN: Final = max(64, 2 * (os.cpu_count() or 1))
"""Artifacts that are open at a time, at most; of each, up to 1 MiB is kept in memory, more in the spool."""


class OpeningAhead:
    """Opens inputs in a thread. Nobody waits for it at the end: it may be reading a stream that never ends.

    Args:
        opener: Opens one input.
        timeout: Seconds for one artifact.
        bounties: Whether files and streams hold a bounty in JSON.
        opened: Called in the thread with each turn, once it has its artifact and bounty, or its refusal.
    """

    def __init__(
        self, opener: Opener, timeout: float, *, bounties: bool, opened: Callable[[ParallelTurn], None]
    ) -> None:
        self._opener = opener
        self._timeout = timeout
        self._bounties = bounties
        self._opened = opened
        self._queue: queue.SimpleQueue[ParallelTurn | None] = queue.SimpleQueue()
        self._room = _Room()
        self._taken = 0
        self._thread: threading.Thread | None = None

    def put(self, turn: ParallelTurn) -> None:
        """Open an input when its turn comes.

        Args:
            turn: The input.
        """
        self._queue.put(turn)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="psengine-open", daemon=True)
            self._thread.start()

    def release(self) -> None:
        """The engines are done with one that was opened."""
        self._room.give_back()

    def stop(self) -> None:
        """Open nothing more."""
        self._room.close()
        self._queue.put(None)

    def _run(self) -> None:
        for turn in fetch_ahead(self._arriving(), self._opener.fetch, self._timeout):
            if not self._room.take():
                return
            began = time.perf_counter()
            try:
                turn.artifact, turn.bounty = self._open(turn)
            except (ArtifactError, InvalidBounty) as error:
                turn.refusal = refused(turn.item, error)
            except Exception as error:  # noqa: BLE001 - raised in the thread of the scan
                turn.error = error
            turn.seconds = time.perf_counter() - began
            self._taken -= 1
            self._opened(turn)

    def _arriving(self) -> Iterator[ParallelTurn | None]:
        """What was put, as it comes; None where nothing is there and something that was taken is not open yet."""
        while True:
            try:
                turn = self._queue.get(block=not self._taken)
            except queue.Empty:
                yield None
                continue
            if turn is None:
                return
            self._taken += 1
            yield turn

    def _open(self, turn: ParallelTurn) -> tuple[Artifact | None, Bounty]:
        item = turn.item
        if self._bounties and isinstance(item, (FileInput, StreamInput)):
            bounty = self._opener.read_bounty(item)
            return self._opener.shared(bounty, turn.engines), bounty
        if isinstance(item, StreamInput):
            self._room.have_all()  # what was read of it cannot be read again where the spool proves to be too small
        try:
            return self._obtained(turn)
        except SpoolFull:
            if isinstance(item, StreamInput):
                raise
        self._room.have_all()  # what took the room may be gone by now; it is tried again in any case
        return self._opener.open(item)

    def _obtained(self, turn: ParallelTurn) -> tuple[Artifact, Bounty]:
        if turn.fetch is None:
            return self._opener.open(turn.item)
        artifact = turn.fetch.result(self._timeout)
        return artifact, self._opener.bounty_of(turn.item, artifact)


class _Room:
    """Counts what is open."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held = 0
        self._closed = False

    def take(self) -> bool:
        """Wait for room for one more; False where it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._held < OPEN)
            self._held += 1
            return not self._closed

    def give_back(self) -> None:
        """One less."""
        with self._changed:
            self._held -= 1
            self._changed.notify_all()

    def have_all(self) -> None:
        """Wait until there is none but the caller's."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._held <= 1)

    def close(self) -> None:
        """Nobody is to wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
