"""Listeners: who hears of outcomes, on a thread and a bounded queue of its own, and can delay nobody."""

from __future__ import annotations

import collections
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final

from psengine_host import job
from psengine_host.outcome import Outcome

__all__ = ["QUEUE_LENGTH", "Listener"]

QUEUE_LENGTH: Final = 10_000
"""Outcomes that wait for one listener at most; beyond that they are counted as missed."""

logger = logging.getLogger(__name__)


class Listener:
    """One who hears of outcomes, one after another.

    The thread starts with the first outcome. Who takes longer than the time limit over one outcome is dropped: it hears
    nothing more, and what it misses is counted.

    Args:
        name: How the log names it, with its kind: ``observer alerts (acme 1.0)``.
        hear: Called with each outcome; whatever it raises it must handle itself.
        timeout: Seconds that one call may take.
    """

    def __init__(self, name: str, hear: Callable[[Outcome], None], timeout: float) -> None:
        self.name = name
        self._hear = hear
        self._timeout = timeout
        self._queue: collections.deque[Outcome] = collections.deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._idle = True
        self._busy_since = 0.0
        self._given_up = False
        self._missed = 0

    def put(self, outcome: Outcome) -> None:
        """Hand over an outcome; returns at once."""
        if not self._given_up and self._stuck():
            self._give_up(f"took longer than {self._timeout:g} s over one outcome and is dropped")
        if self._given_up or len(self._queue) >= QUEUE_LENGTH:
            self._missed += 1
            return
        self._queue.append(outcome)
        if self._idle:
            with self._wake:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                    self._thread.start()
                self._wake.notify()

    def close(self, deadline: float = math.inf) -> None:
        """Wait until everything has been heard, and end the thread; what was missed is logged.

        Args:
            deadline: How long to wait at most, on the clock of ``time.monotonic``.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        while self._thread is not None and self._thread.is_alive() and not self._given_up:
            self._thread.join(0.05)
            if self._stuck():
                self._give_up(f"took longer than {self._timeout:g} s over one outcome and is dropped")
            elif time.monotonic() > deadline and self._thread.is_alive():
                self._give_up("has not heard everything in the time there is at the end, and is dropped")
        if self._missed:
            logger.error("%s missed %d outcomes", self.name, self._missed)

    def _stuck(self) -> bool:
        since = self._busy_since  # read once: the thread sets it to 0 when it is done
        return since > 0 and time.monotonic() - since > self._timeout

    def _give_up(self, why: str) -> None:
        self._given_up = True
        self._missed += len(self._queue)
        self._queue.clear()
        logger.error("%s %s", self.name, why)

    def _run(self) -> None:
        while True:
            while not self._given_up:
                try:
                    outcome = self._queue.popleft()
                except IndexError:  # empty, or emptied just now by whoever gave this listener up
                    break
                self._busy_since = time.monotonic()
                token = job.begin(outcome.engine, outcome.bounty.id, self._busy_since + self._timeout)
                self._hear(outcome)
                job.end(token)
                self._busy_since = 0.0
            with self._wake:
                if self._given_up or (self._closing and not self._queue):
                    return
                self._idle = True
                while not self._queue and not self._closing:
                    # The time limit covers an append that came between the test above and this wait.
                    self._wake.wait(0.2)
                self._idle = False
