"""Records as bounded text: what was said, by whom about what, and what was raised; none of it can fail."""

from __future__ import annotations

import logging
from typing import Final

from psengine_host.errors import one_line, shown
from psengine_host.job import Job
from psengine_host.logs.masks import LONGEST_SECRET, Masks

__all__ = ["LONGEST_TEXT", "bounty_of", "cut", "engine_of", "exception_of", "message_of"]

LONGEST_TEXT: Final = 32_768
"""Characters of a message or a traceback at most."""

_ENGINE_LOGGERS: Final = "psengine.engines."
"""Before the engine's name in the name of its ``context.logger``."""
_TRACEBACKS: Final = logging.Formatter()


def message_of(record: logging.LogRecord, masks: Masks) -> str:
    """What a record says, its arguments filled in.

    Args:
        record: The record.
        masks: What must not be seen.
    """
    try:
        message = record.getMessage()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - wrong arguments, or an object that fails when it is shown
        message = f"{shown(record.msg)} (its arguments cannot be filled in: {one_line(error)})"
    return cut(message, masks)


def exception_of(record: logging.LogRecord, masks: Masks) -> str:
    """The traceback of a record and the stack it asked for, or an empty text.

    Args:
        record: The record.
        masks: What must not be seen.
    """
    text = ""
    if record.exc_info:
        kind = record.exc_info[0]
        try:
            text = "" if kind is None else _TRACEBACKS.formatException(record.exc_info)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an exception may do anything when it is looked at
            text = f"{kind}, and its traceback cannot be shown: {one_line(error)}"
    elif record.exc_text:  # of a record that came from another process
        text = str(record.exc_text)
    if record.stack_info:
        text = f"{text}\n{record.stack_info}" if text else str(record.stack_info)
    return cut(text, masks, end=True) if text else ""


def cut(text: str, masks: Masks, limit: int = LONGEST_TEXT, *, end: bool = False) -> str:
    """A text of bounded length with what must not be seen hidden, a secret that the cut divides included.

    Args:
        text: Any text, however long.
        masks: What must not be seen.
        limit: Characters at most.
        end: Whether its end is what matters, as in a traceback.
    """
    length = len(text)
    if length <= limit:
        return masks(text)
    text = masks.without_data(text)  # before any cut: the end of such a URI does not look like one
    size = f"{length:,} characters"
    if len(text) <= limit:
        return masks(text)
    if end:
        tail = masks(text[-limit - LONGEST_SECRET :])[LONGEST_SECRET:]
        return f"({size}) …\n{tail[-limit:]}"
    head = masks(text[: limit + LONGEST_SECRET])
    return f"{head[: min(limit, len(head) - LONGEST_SECRET)]}… ({size})"


def engine_of(record: logging.LogRecord, job: Job | None) -> str | None:
    """The engine at work, or outside of any job (in its ``setup``, in a thread of its own) the one whose logger it is.

    Args:
        record: The record.
        job: The job in hand.
    """
    if job is not None:
        return job.engine
    name = str(record.name)
    return name[len(_ENGINE_LOGGERS) :].partition(".")[0] or None if name.startswith(_ENGINE_LOGGERS) else None


def bounty_of(job: Job) -> str | None:
    """The bounty's id as text, exactly; one sender's ids are integers beyond 64 bits, another's are words."""
    bounty = job.bounty
    try:
        return None if bounty is None else str(bounty)
    except ValueError:  # more digits than Python turns into text
        return hex(bounty)  # type: ignore[arg-type]
