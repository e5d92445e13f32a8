"""Ctrl-C and the signals that ask a program to end: told apart, never lost, and never in the middle of a line."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Self

__all__ = [
    "SIGNALS",
    "Interrupted",
    "Interrupts",
    "complain_of_no_lost_interrupt",
    "die_quietly_of_interrupts",
    "end_soon",
]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME: Final = 1.0
"""Seconds after the first signal in which others say the same: ``timeout`` sends two, an impatient person as well."""
_LAST: Final = 1.0
"""Seconds that an interrupted program has for its very last things."""


class Interrupted(KeyboardInterrupt):
    """The user, or the system, wants the program to end. No ``Exception``: an engine must not be blamed for it."""


class Interrupts:
    """Raises :class:`Interrupted` at the first of SIGINT, SIGTERM and SIGHUP, and remembers it.

    A signal that the caller had ignored (``nohup``, a job in the background) stays ignored. Outside the main thread,
    where Python delivers no signals, this does nothing. May be nested: the outer one remembers what the inner one got.
    What comes within a second of the first signal says nothing new. A process that is forked meanwhile has the system's
    own handling back before a signal can reach it: the workers of an engine's pool are ended with SIGTERM, and Python
    would run our handler only after a wait for the next task.

    Args:
        came: Called by the first signal, at any moment in the main thread.
        same: Seconds in which a signal is the same as the first one.

    Attributes:
        signal: The signal that came first, or None; also where an engine swallowed the exception.
    """

    def __init__(self, came: Callable[[], object] = lambda: None, *, same: float = SAME) -> None:
        self.signal: signal.Signals | None = None
        self._came = came
        self._same = same
        self._when = 0.0
        self._leaving = False
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
        self._leaving = False
        if threading.current_thread() is threading.main_thread():
            _forks.watch()
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    previous = self._previous[number] = signal.signal(number, self._arrived)
                    owner = getattr(previous, "__self__", None)
                    self._outer = owner if isinstance(owner, Interrupts) else self._outer
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving = True  # what is raised from here on would leave some handlers in their place
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()
        self._outer = None

    def _arrived(self, number: int, _frame: object) -> None:
        first = self.signal is None
        self._remember(signal.Signals(number), time.monotonic())
        if first:
            self._came()
        elif time.monotonic() - self._when < self._same:
            return
        if self._leaving:
            return
        if not first:
            raise Interrupted
        if self._wake is not None:
            self._wake()
        elif not self._held:
            raise Interrupted

    def _remember(self, number: signal.Signals, when: float) -> None:
        if self.signal is None:
            self.signal = number
            self._when = when
        if self._outer is not None:
            self._outer._remember(number, when)


def die_quietly_of_interrupts() -> None:
    """Have Ctrl-C end this process as it ends others, until somebody handles it: Python would print a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def complain_of_no_lost_interrupt() -> None:
    """Have Python not print an :class:`Interrupted` that came where it drops exceptions, as in a weak reference's call.

    The signal is remembered all the same.
    """
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs, /) -> None:
        if not isinstance(unraisable.exc_value, Interrupted):
            before(unraisable)

    sys.unraisablehook = hook


def end_soon(code: int) -> None:
    """The program was interrupted and has done all it had to: it ends with a code, whatever else comes.

    Neither another signal nor the threads and functions that an engine left for the end change that.

    Args:
        code: The exit code.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)

    def end() -> None:
        time.sleep(_LAST)
        os._exit(code)

    with suppress(RuntimeError):  # there can be no more threads
        threading.Thread(target=end, name="psengine-end", daemon=True).start()


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
