"""Ctrl-C and the signals that ask a program to end: told apart, never lost, and never in the middle of a line."""

from __future__ import annotations

import os
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
    where Python delivers no signals, this does nothing. May be nested: the outer one remembers what the inner one got.
    A process that was forked meanwhile dies of the signal, as it would have without this.

    Attributes:
        signal: The signal that came first, or None; also where an engine swallowed the exception.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._held = False
        self._previous: dict[signal.Signals, Any] = {}
        self._outer: Interrupts | None = None
        self._process = 0

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
            self._process = os.getpid()
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    previous = self._previous[number] = signal.signal(number, self._arrived)
                    owner = getattr(previous, "__self__", None)
                    self._outer = owner if isinstance(owner, Interrupts) else self._outer
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()
        self._outer = None

    def _arrived(self, number: int, _frame: object) -> None:
        if os.getpid() != self._process:  # an engine's pool forked: its workers are ended with SIGTERM
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            return
        first = self.signal is None
        self._remember(signal.Signals(number))
        if not (self._held and first):
            raise Interrupted

    def _remember(self, number: signal.Signals) -> None:
        if self.signal is None:
            self.signal = number
        if self._outer is not None:
            self._outer._remember(number)
