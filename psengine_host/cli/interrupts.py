"""Ctrl-C and the signals that ask a program to end: told apart, never lost, and never in the middle of a line."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
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
    A process that is forked meanwhile has the system's own handling back before a signal can reach it: the workers of
    an engine's pool are ended with SIGTERM, and Python would run our handler only after a wait for the next task.

    Attributes:
        signal: The signal that came first, or None; also where an engine swallowed the exception.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._held = False
        self._wake: Callable[[], object] | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._outer: Interrupts | None = None

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

    @contextmanager
    def told(self, wake: Callable[[], object]) -> Iterator[None]:
        """Have the first signal told and not raised: who is told raises :class:`Interrupted` where that harms nothing.

        An exception that comes at any moment may come between the taking of a lock and the block that gives it back,
        and whoever needs that lock, in another thread, then waits for ever. A second signal is raised at once.

        Args:
            wake: Called by the first signal, at any moment in the main thread.
        """
        self._wake = wake
        try:
            yield
        finally:
            self._wake = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            _forks.watch()
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
        first = self.signal is None
        self._remember(signal.Signals(number))
        if not first:
            raise Interrupted
        if self._wake is not None:
            self._wake()
        elif not self._held:
            raise Interrupted

    def _remember(self, number: signal.Signals) -> None:
        if self.signal is None:
            self.signal = number
        if self._outer is not None:
            self._outer._remember(number)


class _Forks:
    """Gives a forked process the system's handling of the signals, with none let through in between."""

    def __init__(self) -> None:
        self._watching = False
        self._thread = threading.local()

    def watch(self) -> None:
        """From now on."""
        if not self._watching:
            os.register_at_fork(before=self._block, after_in_parent=self._unblock, after_in_child=self._give_back)
            self._watching = True

    def _block(self) -> None:
        self._thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._thread.mask)

    def _give_back(self) -> None:
        for number in SIGNALS:
            if isinstance(getattr(signal.getsignal(number), "__self__", None), Interrupts):
                signal.signal(number, signal.SIG_DFL)
        self._unblock()


_forks = _Forks()
