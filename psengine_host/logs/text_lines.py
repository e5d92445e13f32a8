"""Lines for people: plain into a file or a pipe, with colours on a terminal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from psengine_host.escapes import printable
from psengine_host.job import current_job
from psengine_host.logs.masks import Masks
from psengine_host.logs.records import bounty_of, engine_of, exception_of, message_of

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["TextLines"]

_INDENT: Final = "\n    "
"""Before what follows the first line: no message can look like the beginning of the next record."""
_STYLES: Final = ((logging.CRITICAL, "bold red"), (logging.ERROR, "red"), (logging.WARNING, "yellow"), (0, "cyan"))
"""From which level on a record's level has which colour."""


class TextLines(logging.Formatter):
    """``psengine: WARNING: the message [engine nanoav, bounty 7]``.

    What would steer a terminal (an engine logs a file's name) is shown as an escape. The lines of a traceback, or of a
    message that has several, are indented.

    Args:
        masks: What must not be seen.
    """

    def __init__(self, masks: Masks) -> None:
        super().__init__()
        self._masks = masks
        self._console: Console | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The record without colours."""
        return "".join(self._parts(record))

    def coloured(self, record: logging.LogRecord) -> str:
        """The record for the terminal that standard error is: with colours unless ``NO_COLOR`` or ``TERM`` forbid."""
        from rich.console import Console
        from rich.text import Text

        start, message, origin, rest = self._parts(record)
        level = start[len("psengine: ") :]
        style = next(style for least, style in _STYLES if record.levelno >= least or least == 0)
        if self._console is None:
            self._console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        text = Text.assemble(("psengine: ", "dim"), (level, style), message, (origin, "dim"), rest)
        with self._console.capture() as captured:
            self._console.print(text, end="")
        return captured.get()

    def _parts(self, record: logging.LogRecord) -> tuple[str, str, str, str]:
        message = message_of(record, self._masks)
        exception = exception_of(record, self._masks)
        origin = _origin(record)
        return (
            f"psengine: {printable(str(record.levelname))}: ",
            _lines(message),
            f" [{printable(self._masks(origin))}]" if origin else "",
            _INDENT + _lines(exception) if exception else "",
        )


def _lines(text: str) -> str:
    if text.isprintable():
        return text
    return _INDENT.join(printable(line, keep="\t") for line in text.rstrip("\n").split("\n"))


def _origin(record: logging.LogRecord) -> str:
    """Who speaks of what: the job in hand, or else the library whose logger it is."""
    job = current_job()
    engine = engine_of(record, job)
    if engine:
        parts = [("engine", engine)]
        if job is not None:
            parts += [("bounty", bounty_of(job) or ""), ("delivery", job.delivery or "")]
        return ", ".join(f"{what} {name}" for what, name in parts if name)
    name = str(record.name)
    return "" if name.startswith("psengine") or name in ("root", "py.warnings") else name
