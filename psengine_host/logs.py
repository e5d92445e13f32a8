"""Logs: set up in one place, once, by whoever runs the program; never at import."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final, TextIO

__all__ = ["set_up_logs"]

NOISY: Final = ("asyncio", "urllib3", "aiohttp")
"""Libraries that tell of their own workings; they are heard from warnings on."""


def set_up_logs(*, debug: bool = False) -> None:
    """Send the log to standard error: lines for people, or with ``LOG_FORMAT=json`` one object a line.

    What ``LOG_LEVEL`` or ``LOG_FORMAT`` say that cannot be is told as a warning, and the default is used.

    Args:
        debug: Log everything; otherwise what ``LOG_LEVEL`` says (a name or a number), else warnings.
    """
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _StandardError):
            root.removeHandler(old)
    handler = _StandardError()
    log_format = os.environ.get("LOG_FORMAT", "").lower() or "text"
    handler.setFormatter(_json_lines() if log_format == "json" else _Lines("psengine: %(levelname)s: %(message)s"))
    root.addHandler(handler)
    named = os.environ.get("LOG_LEVEL", "").strip()
    try:
        root.setLevel(int(named) if named.isdecimal() else named.upper() or logging.WARNING)
        known_level = True
    except ValueError:
        root.setLevel(logging.WARNING)
        known_level = False
    if debug:
        root.setLevel(logging.DEBUG)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))
    logger = logging.getLogger(__name__)
    if not known_level:
        logger.warning("LOG_LEVEL: %r is no level (debug, info, warning, error or a number); warning is used", named)
    if log_format not in ("text", "json"):
        logger.warning("LOG_FORMAT: %r is no format (text or json); text is used", log_format)


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the moment: a progress bar puts itself in between and goes away again."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:  # type: ignore[override]  # noqa: ANN401 - an attribute in the class above
        """Standard error."""
        return sys.stderr


class _Lines(logging.Formatter):
    """Lines for people; what would steer their terminal (an engine logs a file's name) is shown as an escape."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        text = super().format(record)
        if text.isprintable():
            return text
        return "".join(
            character
            if character.isprintable() or character in "\n\t"
            else character.encode("unicode_escape", "surrogatepass").decode()
            for character in text
        )


def _json_lines() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "timestamp", "levelname": "level", "name": "logger"},
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
