"""The progress bar on standard error: shown on a terminal, after a second of work, with rate and time left."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ProgressBar"]

PATIENCE: Final = 1.0
"""Seconds of work before the bar appears."""


class ProgressBar:
    """A bar that costs next to nothing until it is shown.

    Args:
        count: Tells how many artifacts there are, or None; called once, in a thread, when the bar appears. It is handed
            a function that tells whether nobody wants to know any more.
        terminal: Whether there is a terminal to show it on; found out by default.
    """

    def __init__(self, count: Callable[[Callable[[], bool]], int | None], *, terminal: bool | None = None) -> None:
        self._count = count
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._began = time.monotonic()
        self._done = 0
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._closed = threading.Event()

    def advance(self, current: str = "") -> None:
        """One more artifact is done.

        Args:
            current: Its name.
        """
        self._done += 1
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self._done, current=current[-40:])
        elif self._terminal and not self._closed.is_set() and time.monotonic() - self._began > PATIENCE:
            self._show()

    @contextlib.contextmanager
    def cleared(self) -> Iterator[None]:
        """Take the bar off the terminal while something else is printed there."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        try:
            yield
        finally:
            if not self._closed.is_set():
                self._progress.start()

    def close(self) -> None:
        """Take the bar away."""
        self._closed.set()
        if self._progress is not None:
            self._progress.stop()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[current]}", markup=False),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            refresh_per_second=5,
            get_time=time.monotonic,
        )
        self._task = self._progress.add_task("", total=None, completed=self._done, rate="", current="")
        self._progress.start()
        threading.Thread(target=self._find_total, name="psengine-count", daemon=True).start()
        threading.Thread(target=self._show_rate, name="psengine-rate", daemon=True).start()

    def _find_total(self) -> None:
        try:
            total = self._count(self._closed.is_set)
        except Exception:  # noqa: BLE001 - the scan itself reports what is wrong with the inputs
            return
        if total is not None and self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=max(total, self._done))

    def _show_rate(self) -> None:
        while not self._closed.wait(0.5):
            if self._progress is not None and self._task is not None:
                rate = self._done / (time.monotonic() - self._began)
                self._progress.update(self._task, rate=f"{rate:,.0f} files/s")
