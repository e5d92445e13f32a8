"""Ctrl-C and the signals that ask a program to end: told apart, never lost, and never in the middle of a line."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

__all__ = ["Interrupted", "Interrupts"]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The user, or the system, wants the program to end. No ``Exception``: an engine must not be blamed for it."""


class Interrupts:
    """Raises :class:`Interrupted` at the first of SIGINT, SIGTERM and SIGHUP, and remembers it.

    A signal that the caller had ignored (``nohup``, a job in the background) stays ignored. Outside the main thread,
    where Python delivers no signals, this does nothing.

    Attributes:
        signal: The signal that came first, or None; also where an engine swallowed the exception.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._held = False
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells count; 130 where an interrupt came without one."""
        return 128 + (self.signal or signal.SIGINT)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let something be done to its end: the first signal is raised afterwards, a second one at once."""
        self._held = True
        came = self.signal
        try:
            yield
        finally:
            self._held = False
        if self.signal is not came:
            raise Interrupted

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()

    def _arrived(self, number: int, _frame: object) -> None:
        first = self.signal is None
        if first:
            self.signal = signal.Signals(number)
        if not (self._held and first):
            raise Interrupted
