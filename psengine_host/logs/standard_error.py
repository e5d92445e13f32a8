"""The handler: it writes to what standard error is at the moment, and nothing that goes wrong there is told."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from psengine_host.errors import one_line

__all__ = ["StandardError"]


class StandardError(logging.StreamHandler[Any]):
    """Writes each record as one text.

    A progress bar puts itself in the place of ``sys.stderr`` and goes away again, so the stream is looked up at each
    record. A log that cannot be written (disk full, closed, the reader gone) is lost: it neither raises nor complains,
    for that would change what the program does.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.coloured: Callable[[logging.LogRecord], str] | None = None
        """Renders a record for a terminal, where that differs."""

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
        if self.coloured is not None and stream.isatty():
            try:
                return self.coloured(record)
            except ImportError:  # the interpreter is ending, and rich was not needed before
                return self.format(record)
        return self.format(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        """Nothing: there is nowhere to tell it."""
