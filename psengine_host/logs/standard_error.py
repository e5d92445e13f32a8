"""The handler: it writes to what standard error is at the moment, and nothing that goes wrong there is told."""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from psengine_host.errors import one_line

__all__ = ["StandardError"]

_FORK_PATIENCE: Final = 1.0
"""Seconds that a fork waits for a record that another thread is writing: standard error may be stuck for ever."""


class StandardError(logging.StreamHandler[Any]):
    """Writes each record as one text.

    A progress bar puts itself in the place of ``sys.stderr`` and goes away again, so the stream is looked up at each
    record. A log that cannot be written (disk full, closed, the reader gone) is lost: it neither raises nor complains,
    for that would change what the program does.

    Args:
        lines: Makes the formatter, at the first record: most runs log nothing, and start sooner without it. One that
            has a method ``coloured`` too is asked for that on a terminal.
    """

    def __init__(self, lines: Callable[[], logging.Formatter]) -> None:
        logging.Handler.__init__(self)
        self._make = lines
        _forks.watch(self)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text without colours."""
        return self._lines().format(record)

    def _lines(self) -> logging.Formatter:
        if self.formatter is None:
            self.formatter = self._make()
        return self.formatter

    @property
    def stream(self) -> Any:  # noqa: ANN401 - an attribute in the class above
        """Standard error; None where there is none."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        stream = self.stream
        if stream is None:
            return
        try:
            # In one piece: other threads and processes write there too.
            stream.write(self._rendered(record, stream) + self.terminator)
            stream.flush()
        except Exception:  # noqa: BLE001 - closed, full, gone, or no stream at all; whoever logs must not hear of it
            return

    def _rendered(self, record: logging.LogRecord, stream: Any) -> str:  # noqa: ANN401 - anything with write
        try:
            return self._formatted(record, stream)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what is in a record may be anybody's
            text = f"a record that cannot be shown: {one_line(error)}"
            return self.format(logging.LogRecord(__name__, logging.ERROR, __file__, 0, text, None, None))

    def _formatted(self, record: logging.LogRecord, stream: Any) -> str:  # noqa: ANN401
        coloured: Callable[[logging.LogRecord], str] | None = getattr(self._lines(), "coloured", None)
        if coloured is not None and stream.isatty():
            try:
                return coloured(record)
            except ImportError:  # the interpreter is ending, and rich was not needed before
                return self.format(record)
        return self.format(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        """Nothing: there is nowhere to tell it."""


class _Forks:
    """Lets no fork happen in the middle of a record.

    The child would have the locks of the other thread for ever: those of the modules that the first record imports, and
    that of the stream. The handler's own lock is made anew in the child by ``logging``.
    """

    def __init__(self) -> None:
        self._handlers: weakref.WeakSet[StandardError] = weakref.WeakSet()
        self._watching = False
        self._mine = threading.local()

    def watch(self, handler: StandardError) -> None:
        self._handlers.add(handler)
        if not self._watching and hasattr(os, "register_at_fork"):
            self._watching = True
            os.register_at_fork(before=self._hold, after_in_parent=self._let_go)

    def _hold(self) -> None:
        locks = [handler.lock for handler in list(self._handlers) if handler.lock is not None]
        self._mine.held = [lock for lock in locks if lock.acquire(timeout=_FORK_PATIENCE)]

    def _let_go(self) -> None:
        for lock in getattr(self._mine, "held", ()):
            lock.release()


_forks: Final = _Forks()
