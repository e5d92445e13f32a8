"""Fetches in flight: who asks for what is being fetched already waits for it instead of fetching it once more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from psengine_host.artifact_store import ArtifactStore, Holding
from psengine_host.errors import ArtifactError

__all__ = ["NotFetched", "SharedFetches"]

_LONGER: Final = 1.0
"""Seconds that a caller must have more than the one whose fetch failed, for another try to be worth while."""


class NotFetched(ArtifactError):
    """A fetch that failed.

    Args:
        reason: Why, in one line that does not name the URI.
        for_want_of_time: Whether it might succeed for a caller who has more time.
    """

    def __init__(self, reason: str, *, for_want_of_time: bool = False) -> None:
        self.reason = reason
        self.for_want_of_time = for_want_of_time
        super().__init__(reason)


class SharedFetches:
    """Runs fetches, one at a time for each key.

    The first who asks fetches, in its own thread and until its own deadline; the others wait, each until its own. If
    the first runs out of time, or is interrupted, one who has longer begins anew. So nothing is fetched that nobody
    waits for.

    Args:
        store: What is fetched is held there.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._flights: dict[object, _Flight] = {}

    def get(self, key: object, deadline: float, fetch: Callable[[], Holding]) -> Holding:
        """A share in what ``fetch`` returns, to whoever's call it was.

        Args:
            key: What is fetched; the same key gets the same bytes.
            deadline: Until when the caller waits, on the clock of ``time.monotonic``.
            fetch: Fetches it before that deadline, and returns a share in it.

        Raises:
            NotFetched: It cannot be had, or not in time.
            ArtifactError: It cannot be stored.
        """
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    own = self._flights[key] = _Flight(deadline)
                    break
                flight.waiting += 1
            holding = self._wait(flight, deadline)
            if holding is not None:
                return holding
        return self._lead(key, own, fetch)

    def _lead(self, key: object, flight: _Flight, fetch: Callable[[], Holding]) -> Holding:
        holding: Holding | None = None
        error: ArtifactError | None = None
        try:
            holding = fetch()
        except ArtifactError as failure:
            error = failure
            raise
        finally:
            with self._lock:
                del self._flights[key]
                if holding is not None and flight.waiting:
                    self._store.share(holding, flight.waiting)  # before the own one can be given back
                flight.end(holding, error)
        return holding

    def _wait(self, flight: _Flight, deadline: float) -> Holding | None:
        """The share of one who waits; None where it is to try by itself."""
        try:
            flight.ended.wait(max(0.0, min(deadline - time.monotonic(), threading.TIMEOUT_MAX)))
        except BaseException:
            self._leave(flight)
            raise
        with self._lock:
            if not flight.ended.is_set():
                flight.waiting -= 1
                raise NotFetched("not done by the deadline", for_want_of_time=True)
        if flight.holding is not None:
            return flight.holding
        error = flight.error
        if error is None:  # interrupted, or not the artifact's fault
            return None
        if isinstance(error, NotFetched):
            if error.for_want_of_time and deadline > flight.deadline + _LONGER:
                return None
            raise NotFetched(error.reason, for_want_of_time=error.for_want_of_time) from error
        raise type(error)(*error.args) from error

    def _leave(self, flight: _Flight) -> None:
        with self._lock:
            flight.waiting -= 1
            holding = flight.holding
        if holding is not None:
            self._store.release(holding)


class _Flight:
    """One fetch in flight.

    Attributes:
        deadline: Until when it is tried.
        waiting: How many wait for it, beside the one whose fetch it is.
        ended: Set when it has ended.
        holding: What was fetched; each who waits has a share in it.
        error: Why nothing was fetched.
    """

    __slots__ = ("deadline", "ended", "error", "holding", "waiting")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.waiting = 0
        self.ended = threading.Event()
        self.holding: Holding | None = None
        self.error: ArtifactError | None = None

    def end(self, holding: Holding | None, error: ArtifactError | None) -> None:
        """Tell those who wait."""
        self.holding = holding
        self.error = error
        self.ended.set()
