"""The loop: one thread that waits for descriptors, for moments and for what other threads ask of it."""

from __future__ import annotations

import collections
import contextlib
import heapq
import itertools
import logging
import math
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Loop", "Timer", "is_in_loop"]

WRITABLE: Final = select.EPOLLOUT

_MANY: Final = 4
"""Calls in one round that make it likely that more come."""
_SOON: Final = 0.0005
"""Seconds until the next look then."""

_here: Final = threading.local()

logger = logging.getLogger(__name__)


def is_in_loop() -> bool:
    """Whether this is a loop's own thread: who waits there for what it does itself waits for ever."""
    return getattr(_here, "loops", False)


class Timer:
    """Something to do at a moment; made by :meth:`Loop.at`."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Do not do it; doing this again, or afterwards, changes nothing."""
        self.call = None


class Loop:
    """Calls back in one thread: who only ever runs there needs no locks.

    A callback that raises is logged, and the loop goes on.

    Attributes:
        unhurried: Whether whoever is waited for has enough to do: then what comes is gathered for a moment, since each
            waking costs as much as the work it is for.
        now: The time on the clock of ``time.monotonic``, taken once for all that has come at the same moment.

    Args:
        name: The thread's name.
        after: Called after each round, with what it may wait for next as its result, on the clock of
            ``time.monotonic``.
    """

    def __init__(self, name: str, after: Callable[[float], float]) -> None:
        self.now = time.monotonic()
        self._after = after
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._handlers: dict[int, Callable[[int], object]] = {}
        self._calls: collections.deque[Callable[[], object]] = collections.deque()
        self._asleep = False
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False
        self.unhurried = False
        # Nobody waits for it at the end of the program: whoever forgets to close a host must not hang.
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    # --- from any thread --------------------------------------------------------------------------------------------

    def call(self, call: Callable[[], object]) -> None:
        """Have something called in the loop's thread, soon, in order."""
        self._calls.append(call)
        if self._asleep:
            self._asleep = False
            self._ring()

    def stop(self) -> None:
        """End the thread after this round."""
        self.call(self._stop)

    def abandon(self) -> None:
        """In a fork of the process: close the descriptors, and touch nothing that the parent has as well."""
        self._handlers.clear()  # what is forgotten from now on is not taken from the parent's epoll
        self._calls.clear()
        self._close()

    # --- in the loop's thread only ----------------------------------------------------------------------------------

    def watch(self, descriptor: int, call: Callable[[int], object]) -> None:
        """Call back with the events whenever a descriptor is readable."""
        self._handlers[descriptor] = call
        self._epoll.register(descriptor, select.EPOLLIN)

    def also_writable(self, descriptor: int, wanted: bool) -> None:
        """Call back as well when a watched descriptor is writable, or no more."""
        self._epoll.modify(descriptor, select.EPOLLIN | (WRITABLE if wanted else 0))

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more; before it is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def at(self, when: float, call: Callable[[], object]) -> Timer:
        """Have something called at a moment, on the clock of ``time.monotonic``."""
        timer = Timer(call)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    # --- inside -----------------------------------------------------------------------------------------------------

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # the loop has just ended
            os.eventfd_write(self._wake, 1)

    def _stop(self) -> None:
        self._stopped = True

    def _run(self) -> None:
        _here.loops = True
        until = self.now
        calls = 0
        while not self._stopped:
            # Where many threads, or a busy one, ask for much, they need not wake this one for each: it looks by itself,
            # soon. Waking it makes it and them hand the interpreter to and fro.
            self._asleep = calls < _MANY
            wait = 0.0 if self._calls else max(0.0, until - time.monotonic())
            if not self._asleep:
                wait = min(wait, _SOON)
            # Where a round itself takes long, enough comes meanwhile.
            if self.unhurried and time.monotonic() - self.now < _SOON and not self._timers_due():
                time.sleep(_SOON * 2)
            events = self._epoll.poll(-1 if wait == math.inf else wait)
            self._asleep = False
            self.now = time.monotonic()
            for descriptor, event in events:
                if descriptor == self._wake:
                    os.eventfd_read(self._wake)
                elif (handler := self._handlers.get(descriptor)) is not None:  # not forgotten just now
                    self._guarded(handler, event)
            calls = len(self._calls)
            for _ in range(calls):
                self._guarded(self._calls.popleft())
            # What has come is looked at before any deadline: the whole host may have stood still.
            while self._timers and self._timers[0][0] <= self.now:
                timer = heapq.heappop(self._timers)[2]
                if timer.call is not None:
                    self._guarded(timer.call)
            until = self._next()
        self._close()

    def _timers_due(self) -> bool:
        return bool(self._timers) and self._timers[0][0] <= time.monotonic()

    def _close(self) -> None:
        self._asleep = False  # so that nobody rings: the number of the bell may soon be another's
        wake, self._wake = self._wake, -1
        if wake >= 0:
            self._epoll.close()
            os.close(wake)

    def _next(self) -> float:
        try:
            until = self._after(self.now)
        except BaseException:  # whatever it is, all wait for this thread
            logger.exception("the process backend failed, and goes on")
            until = self.now + 0.1
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return min(until, self._timers[0][0]) if self._timers else until

    def _guarded(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            call(*arguments)
        except BaseException:
            logger.exception("the process backend failed, and goes on")
