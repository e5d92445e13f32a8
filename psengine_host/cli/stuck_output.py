"""Outputs that nobody reads, once the user wants to end: a full pipe would hold the program for ever.

``psengine analyze -r / | less`` is one: who has seen enough presses Ctrl-C, and less stays, but reads no more.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import signal
import termios
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, Self

__all__ = ["StuckOutput"]

PATIENCE: Final = 1.0
"""Seconds in which an output takes nothing, after the wish to end, until it is given up."""
LOOK: Final = 0.2
"""Seconds between two looks."""


class StuckOutput:
    """Gives up the outputs that take nothing more, a while after :meth:`begin`. Who reads slowly gets all.

    What is written to them from then on goes nowhere. Whoever waits in ``write`` is woken by a signal, SIGALRM, and
    Python tries again: with the same descriptor, which leads elsewhere now. That is the signal of a timer in the main
    thread; other threads, which may be writing the log, are sent it. The timer is used only from :meth:`begin` to the
    end of the ``with`` block; in another thread than the main one, where no signals come, not at all.

    Args:
        descriptors: The outputs.
    """

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._descriptors = list(descriptors)
        self._written = 0
        self._seen: dict[int, tuple[object, float]] = {}
        self._previous: Any = None
        self._begun = False

    def begin(self) -> None:
        """The user wants to end; may be called by the handler of a signal."""
        if not self._begun and threading.current_thread() is threading.main_thread():
            self._begun = True
            self._previous = signal.signal(signal.SIGALRM, self._look)
            signal.setitimer(signal.ITIMER_REAL, LOOK, LOOK)
            self._seen = {descriptor: (self._state(descriptor), time.monotonic()) for descriptor in self._descriptors}

    def advance(self) -> None:
        """Something more has been written: somebody reads, however slowly."""
        self._written += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._begun:
            signal.setitimer(signal.ITIMER_REAL, 0)
            # One that was sent to a thread may still come, and would end the program by default, which ends anyway.
            before = self._previous
            signal.signal(signal.SIGALRM, signal.SIG_IGN if before in (None, signal.SIG_DFL) else before)

    def _look(self, _number: int, _frame: object) -> None:
        stuck = [descriptor for descriptor in self._descriptors if self._is_stuck(descriptor)]
        for descriptor in stuck:
            self._descriptors.remove(descriptor)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
        if stuck:
            for thread in threading.enumerate():
                if thread.ident is not None and thread is not threading.main_thread():
                    with suppress(ProcessLookupError):
                        signal.pthread_kill(thread.ident, signal.SIGALRM)

    def _is_stuck(self, descriptor: int) -> bool:
        state, now = self._state(descriptor), time.monotonic()
        before, since = self._seen.get(descriptor, (None, now))
        if state != before or _takes_more(descriptor):
            self._seen[descriptor] = (state, now)
            return False
        return now - since >= PATIENCE

    def _state(self, descriptor: int) -> object:
        """What is another one as soon as somebody reads."""
        return self._written, _waiting(descriptor)


def _waiting(descriptor: int) -> int:
    """Bytes in a pipe that nobody has read yet; 0 where that cannot be said."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]


def _takes_more(descriptor: int) -> bool:
    """Whether something can be written; an output that is at fault tells so by itself."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))
