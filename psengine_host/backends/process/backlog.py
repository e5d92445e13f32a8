"""What waits for an engine's workers, in the order in which it is to be done."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable

from psengine_host.backends.process.pending import Pending

__all__ = ["Backlog"]


class Backlog:
    """What was submitted and no worker has.

    Attributes:
        unprepared: What came before it was known what the engine takes.
        queue: What can be given out.
        retries: What workers died over.
    """

    def __init__(self) -> None:
        self.unprepared: collections.deque[Pending] = collections.deque()
        self.queue: collections.deque[Pending] = collections.deque()
        self.retries: collections.deque[Pending] = collections.deque()

    def put_back(self, pendings: Iterable[Pending]) -> None:
        """Put back what was not begun, in its order, before all else."""
        for pending in reversed(list(pendings)):
            pending.holder = None
            (self.retries if pending.tries else self.queue).appendleft(pending)

    def take_unprepared(self) -> Iterable[Pending]:
        """All that came before it was known what the engine takes; it is not here any more."""
        waiting, self.unprepared = self.unprepared, collections.deque()
        return waiting

    def remove(self, pending: Pending) -> None:
        """Take one out, wherever it is, if it is here."""
        for waiting in self._all():
            if pending in waiting:
                waiting.remove(pending)

    def take(self, wanted: Callable[[Pending], bool]) -> list[Pending]:
        """Take out all that are wanted, in time that grows with how many wait, however many these are."""
        taken: list[Pending] = []
        for waiting in self._all():
            found = [pending for pending in waiting if wanted(pending)]
            if found:
                out = set(map(id, found))
                kept = [pending for pending in waiting if id(pending) not in out]
                waiting.clear()
                waiting.extend(kept)
                taken += found
        return taken

    def clear(self) -> None:
        """Forget everything."""
        for waiting in self._all():
            waiting.clear()

    def _all(self) -> tuple[collections.deque[Pending], ...]:
        return self.unprepared, self.queue, self.retries
