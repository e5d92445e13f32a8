"""Logs: set up in one place, once, by whoever runs the program; never at import."""

from __future__ import annotations

import logging
import os
import sys

__all__ = ["set_up_logs"]


def set_up_logs(*, debug: bool = False) -> None:
    """Send the log to standard error, one line a message.

    Args:
        debug: Log everything; otherwise what ``LOG_LEVEL`` says (a name or a number), else warnings.
    """
    level: int | str = logging.WARNING
    if named := os.environ.get("LOG_LEVEL"):
        level = int(named) if named.isdecimal() else named.upper()
    if debug:
        level = logging.DEBUG
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("psengine: %(levelname)s: %(message)s"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if getattr(old, "belongs_to_psengine", False):
            root.removeHandler(old)
    handler.belongs_to_psengine = True  # type: ignore[attr-defined]  # a mark for the next call
    root.addHandler(handler)
    try:
        root.setLevel(level)
    except ValueError:
        root.setLevel(logging.WARNING)
        logging.getLogger(__name__).warning("LOG_LEVEL: %r is no level; WARNING is used", named)
    for noisy in ("asyncio", "urllib3", "aiohttp"):
        logging.getLogger(noisy).setLevel(max(logging.getLogger().level, logging.WARNING))
