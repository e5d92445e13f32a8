"""Fetching ahead: the next few URLs are fetched while one is judged, so that a scan does not wait for each in turn.

Several at once on a slow line take longer each. So the time limit of an artifact counts here what its turn has to wait
for it, and until then a fetch may take as long as all that are under way would, one after another.

Together they take room in the spool that one would not. Where that is too little, what was fetched ahead is let go, and
from then on each is fetched in its turn.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from psengine_host.artifacts import Artifact
from psengine_host.cli.inputs import RemoteInput
from psengine_host.cli.reading_ahead import Turn
from psengine_host.errors import ArtifactError, SpoolFull

__all__ = ["AT_ONCE", "Fetch", "fetch_ahead"]

AT_ONCE: Final = 8
"""Inputs that are under way at most; of each, up to 1 MiB is kept in memory, more in the spool."""

Obtain = Callable[[RemoteInput, float], Artifact]
"""Gets the artifact of an input by a deadline."""


AnyTurn = TypeVar("AnyTurn", bound=Turn)


def fetch_ahead(turns: Iterable[AnyTurn | None], obtain: Obtain, timeout: float) -> Iterator[AnyTurn]:
    """The same turns in the same order, those that are URLs with their fetch under way.

    Args:
        turns: The turns; :data:`AT_ONCE` are taken from it before the first of them has been judged. None says that
            there is no other at the moment: then the first that was taken is yielded, and waits for no other.
        obtain: Gets the artifact of an input.
        timeout: Seconds for one artifact.
    """
    window: deque[AnyTurn] = deque()
    fetchers = _Fetchers(obtain, timeout * AT_ONCE)
    try:
        for turn in turns:
            if turn is None:
                if window:
                    yield window.popleft()
                continue
            if isinstance(turn.item, RemoteInput) and not fetchers.alone:
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

    def result(self, timeout: float) -> Artifact:
        """The artifact; the caller closes it. Waits for it.

        Args:
            timeout: Seconds to wait.

        Raises:
            PsengineError: It cannot be had, or not in that time.
        """
        began = time.monotonic()
        try:
            artifact = self._fetched(timeout)
        except SpoolFull:  # with the others that are under way
            self.abandon()
            artifact = self._fetchers.fetch_alone(self.item, began + timeout)
        except BaseException:  # an interrupt, too
            self.abandon()
            raise
        artifact.obtained_in = time.monotonic() - began
        return artifact

    def _fetched(self, timeout: float) -> Artifact:
        if not self.unwanted:
            if not self.ended.wait(timeout):
                raise ArtifactError(f"{self.item.name}: not fetched in {timeout:g} s")
            if self._error is not None:
                raise self._error
            if self._artifact is not None:
                self._fetchers.forget(self)
                return self._artifact
        # It was let go to make room for another.
        return self._fetchers.fetch_now(self.item, time.monotonic() + timeout)

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
    """Threads that fetch, as many as there are fetches at once. Nobody waits for them at the end.

    Attributes:
        alone: Whether nothing is to be fetched ahead any more, since there is no room for several at once.
    """

    def __init__(self, obtain: Obtain, timeout: float) -> None:
        self.alone = False
        self._obtain = obtain
        self._timeout = timeout
        self._queue: queue.SimpleQueue[Fetch | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._wanted: set[Fetch] = set()
        self._running = 0
        self._ended = 0
        self._changed = threading.Condition()

    def begin(self, item: RemoteInput) -> Fetch:
        """Fetch in an idle thread, or in a new one."""
        fetch = Fetch(item, self)
        with self._changed:
            self._wanted.add(fetch)
            self._running += 1
            if self._idle:
                self._idle -= 1
            else:
                self._threads += 1
                threading.Thread(target=self._run, name="psengine-fetch", daemon=True).start()
        self._queue.put(fetch)
        return fetch

    def fetch_now(self, item: RemoteInput, deadline: float) -> Artifact:
        """Fetch in the caller's thread.

        Raises:
            ArtifactError: It cannot be had.
        """
        return self._obtain(item, deadline)

    def fetch_alone(self, item: RemoteInput, deadline: float) -> Artifact:
        """Fetch in the caller's thread, with the room of all that was fetched ahead.

        Raises:
            ArtifactError: It cannot be had.
            SpoolFull: It does not fit alone either, or what is still under way keeps the room beyond the deadline.
        """
        for fetch in tuple(self._wanted):
            fetch.abandon()
        while True:
            ended, others = self._ended, self._running
            try:
                artifact = self._obtain(item, deadline)
            except SpoolFull:
                if not others or not self._another_ends(ended, deadline):
                    raise
            else:
                self.alone = True
                return artifact

    def _another_ends(self, before: int, deadline: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._ended > before, deadline - time.monotonic())

    def forget(self, fetch: Fetch) -> None:
        """What it fetched is its caller's."""
        with self._changed:
            self._wanted.discard(fetch)

    def write_off(self, fetch: Fetch) -> bool:
        """Wait for a fetch no more; its thread ends with it.

        Returns:
            Whether it has ended already.
        """
        with self._changed:
            self._wanted.discard(fetch)
            ended = fetch.ended.is_set()
            if not ended and not fetch.unwanted:
                fetch.unwanted = True
                self._threads -= 1
            return ended

    def stop(self) -> None:
        """End the threads that wait for something to do, the others when they have done it."""
        with self._changed:
            threads, self._threads = self._threads, 0
        for _ in range(threads):
            self._queue.put(None)

    def _run(self) -> None:
        while (fetch := self._queue.get()) is not None:
            fetch.run(self._obtain, self._timeout)
            with self._changed:
                unwanted = fetch.unwanted
                if not unwanted:
                    self._idle += 1
                    self._end(fetch)
            if unwanted:
                fetch.let_go()  # its room is free before anybody is told
                with self._changed:
                    self._end(fetch)
                return

    def _end(self, fetch: Fetch) -> None:
        fetch.ended.set()
        self._running -= 1
        self._ended += 1
        self._changed.notify_all()
