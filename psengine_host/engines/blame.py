"""What went wrong in code that is not ours, in words that can be sent: bounded, and text that UTF-8 can hold."""

from __future__ import annotations

import traceback
from typing import Final

from psengine_host.errors import one_line, shown

__all__ = ["MAX_MESSAGE", "MAX_TRACEBACK", "limited", "printable", "reason", "traceback_of"]

MAX_MESSAGE: Final = 4_000
"""Characters of a message kept, from its beginning; a scanner's whole output belongs into the log."""
MAX_TRACEBACK: Final = 1 << 16
"""Characters of a traceback kept, from its end."""


def reason(error: BaseException) -> str:
    """An exception in one line of bounded length that UTF-8 can hold; raises nothing itself.

    Args:
        error: Anything that an engine, an observer, a wrapper or a backend raised.
    """
    if isinstance(error, SystemExit):
        return printable(f"called sys.exit({'' if error.code is None else shown(error.code)})")
    return limited(one_line(error))


def limited(text: str) -> str:
    """A text as one line of at most :data:`MAX_MESSAGE` characters that UTF-8 can hold."""
    text = " ".join(text[: 2 * MAX_MESSAGE].split())
    return printable(text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…")


def traceback_of(error: BaseException) -> str:
    """The traceback of an exception with those that caused it, at most :data:`MAX_TRACEBACK` characters."""
    try:
        text = "".join(traceback.format_exception(error))
    except (Exception, SystemExit):  # noqa: BLE001 - an exception may do anything when it is looked at
        text = f"{type(error).__name__}, and its traceback cannot be shown"
    return printable(text[-MAX_TRACEBACK:])


def printable(text: str) -> str:
    """The text with what UTF-8 cannot hold (the undecodable bytes of a file's name) shown as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
