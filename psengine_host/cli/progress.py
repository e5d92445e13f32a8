"""The progress bar on standard error: shown on a terminal, after a second of work, with rate and time left."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from psengine_host.escapes import printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress, TaskID

__all__ = ["ProgressBar"]

PATIENCE: Final = 1.0
"""Seconds of work before the bar appears."""
REFRESH: Final = 0.2
"""Seconds between two looks at the bar."""
SHOWN: Final = 30
"""Characters of the current artifact's name that are shown, from its end."""


class ProgressBar:
    """A bar that is drawn by a thread of its own, so that it comes and moves also while one artifact takes long.

    While it is shown, what is written to ``sys.stdout`` and ``sys.stderr`` in Python appears above it.

    Args:
        count: Tells how many artifacts there are, or None; called once, in a thread, when the bar appears. It is handed
            a function that tells whether nobody wants to know any more.
        current: Names the artifact in work.
        skipped: Tells how many of those that were counted need not be done: they are no part of the total.
        terminal: Whether there is a terminal to show it on; found out by default. A dumb one cannot erase, and is none.
        below: Tells the lines to be shown below the bar.
    """

    def __init__(
        self,
        count: Callable[[Callable[[], bool]], int | None],
        current: Callable[[], str] = str,
        *,
        skipped: Callable[[], int] = int,
        terminal: bool | None = None,
        below: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._count = count
        self._current = current
        self._skipped = skipped
        self._below = below
        self._terminal = _can_erase() if terminal is None else terminal
        self._began = time.monotonic()
        self._done = 0
        self._total: int | None = None
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._progress: Progress | None = None
        if self._terminal:
            threading.Thread(target=self._draw, name="psengine-progress", daemon=True).start()

    def advance(self) -> None:
        """One more row is done."""
        self._done += 1

    @contextlib.contextmanager
    def cleared(self) -> Iterator[None]:
        """Take the bar off the terminal while something else is printed there."""
        with self._lock:
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
        with self._lock:
            if self._progress is not None:
                self._progress.stop()
                self._progress = None

    def _draw(self) -> None:
        if self._closed.wait(PATIENCE):
            return
        threading.Thread(target=self._find_total, name="psengine-count", daemon=True).start()
        progress, task = _bar(self._below)
        while True:
            with self._lock:
                if self._closed.is_set():
                    return
                self._update(progress, task)
                if self._progress is None:
                    self._progress = progress
                    progress.start()
            if self._closed.wait(REFRESH):
                return

    def _update(self, progress: Progress, task: TaskID) -> None:
        rate = self._done / (time.monotonic() - self._began)
        progress.update(
            task,
            total=None if self._total is None else max(self._total - self._skipped(), self._done),
            completed=self._done,
            rate=f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s",
            current=printable(self._current())[-SHOWN:],
        )

    def _find_total(self) -> None:
        with contextlib.suppress(Exception):  # the scan itself reports what is wrong with the inputs
            self._total = self._count(self._closed.is_set)


def _can_erase() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def _bar(below: Callable[[], Sequence[str]]) -> tuple[Progress, TaskID]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class WithLinesBelow(Progress):
        def get_renderables(self) -> Iterable[RenderableType]:
            yield self.make_tasks_table(self.tasks)
            for line in below():
                yield Text(printable(line), no_wrap=True, overflow="ellipsis")

    progress = WithLinesBelow(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[current]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=1 / REFRESH,
        get_time=time.monotonic,
    )
    return progress, progress.add_task("", total=None, rate="", current="")
