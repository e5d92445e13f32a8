"""Fetching ahead: the next few URLs are fetched while one is judged, so that a scan does not wait for each in turn.

Several at once on a slow line take longer each. So the time limit of an artifact counts here what its turn has to wait
for it, and until then a fetch may take as long as all that are under way would, one after another.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from psengine_host.artifacts import Artifact
from psengine_host.cli.inputs import RemoteInput
from psengine_host.cli.reading_ahead import Turn
from psengine_host.errors import ArtifactError, SpoolFull

__all__ = ["AT_ONCE", "Fetch", "fetch_ahead"]

AT_ONCE: Final = 8
"""Inputs that are under way at most; of each, up to 1 MiB is kept in memory, more in the spool."""

Obtain = Callable[[RemoteInput, float], Artifact]
"""Gets the artifact of an input by a deadline."""


def fetch_ahead(turns: Iterable[Turn], obtain: Obtain, timeout: float) -> Iterator[Turn]:
    """The same turns in the same order, those that are URLs with their fetch under way.

    Args:
        turns: The turns; :data:`AT_ONCE` are taken from it before the first of them has been judged.
        obtain: Gets the artifact of an input.
        timeout: Seconds for one artifact.
    """
    window: deque[Turn] = deque()
    fetchers = _Fetchers(obtain, timeout * AT_ONCE)
    try:
        for turn in turns:
            if isinstance(turn.item, RemoteInput):
                turn.fetch = fetchers.begin(turn.item)
            elif not window:  # nothing that it would have to wait for
                yield turn
                continue
            window.append(turn)
            if len(window) >= AT_ONCE:
                yield window.popleft()
        while window:
            yield window.popleft()
    finally:
        for turn in window:
            if turn.fetch is not None:
                turn.fetch.abandon()
        fetchers.stop()


class Fetch:
    """One fetch that began before its turn. Made by :func:`fetch_ahead`."""

    __slots__ = ("_artifact", "_error", "_fetchers", "ended", "item", "unwanted")

    def __init__(self, item: RemoteInput, fetchers: _Fetchers) -> None:
        self.item = item
        self.ended = threading.Event()
        self.unwanted = False
        self._fetchers = fetchers
        self._artifact: Artifact | None = None
        self._error: BaseException | None = None

    def run(self, obtain: Obtain, timeout: float) -> None:
        """Fetch; in a thread of its own.

        Args:
            obtain: Gets the artifact.
            timeout: Seconds that it may take.
        """
        try:
            artifact = obtain(self.item, time.monotonic() + timeout)
            self._artifact = artifact
        except Exception as error:  # noqa: BLE001 - raised again when its turn comes
            self._error = error

    def result(self, timeout: float) -> Artifact | None:
        """The artifact; the caller closes it. Waits for it.

        Args:
            timeout: Seconds to wait.

        Returns:
            None where the spool had no room for this many at once: then it is to be fetched alone.

        Raises:
            PsengineError: It cannot be had, or not in that time.
        """
        began = time.monotonic()
        try:
            if not self.ended.wait(timeout):
                raise ArtifactError(f"{self.item.name}: not fetched in {timeout:g} s")
            if self._error is not None and not isinstance(self._error, SpoolFull):
                raise self._error
        except BaseException:  # an interrupt, too
            self.abandon()
            raise
        if self._error is not None:
            self.abandon()
            return None
        if self._artifact is not None:
            self._artifact.obtained_in = time.monotonic() - began
        return self._artifact

    def abandon(self) -> None:
        """Nobody wants it any more: what was fetched is let go, now or when the fetch ends."""
        if self._fetchers.write_off(self):
            self.let_go()

    def let_go(self) -> None:
        """Close what was fetched."""
        artifact, self._artifact = self._artifact, None
        if artifact is not None:
            artifact.close()


class _Fetchers:
    """Threads that fetch, as many as there are fetches at once. Nobody waits for them at the end."""

    def __init__(self, obtain: Obtain, timeout: float) -> None:
        self._obtain = obtain
        self._timeout = timeout
        self._queue: queue.SimpleQueue[Fetch | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()

    def begin(self, item: RemoteInput) -> Fetch:
        """Fetch in an idle thread, or in a new one."""
        fetch = Fetch(item, self)
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                self._threads += 1
                threading.Thread(target=self._run, name="psengine-fetch", daemon=True).start()
        self._queue.put(fetch)
        return fetch

    def write_off(self, fetch: Fetch) -> bool:
        """Wait for a fetch no more; its thread ends with it.

        Returns:
            Whether it has ended already.
        """
        with self._lock:
            ended = fetch.ended.is_set()
            if not ended and not fetch.unwanted:
                fetch.unwanted = True
                self._threads -= 1
            return ended

    def stop(self) -> None:
        """End the threads that wait for something to do, the others when they have done it."""
        with self._lock:
            threads, self._threads = self._threads, 0
        for _ in range(threads):
            self._queue.put(None)

    def _run(self) -> None:
        while (fetch := self._queue.get()) is not None:
            fetch.run(self._obtain, self._timeout)
            with self._lock:
                fetch.ended.set()
                if not fetch.unwanted:
                    self._idle += 1
                    continue
            fetch.let_go()
            return
